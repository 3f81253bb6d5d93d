//! Statistics of compiled kernels: registers, memory and instructions, as the compiler of a graphics driver prints them.
//!
//! Drivers print to standard error, each in its own form, while they compile. So a second process of the program compiles
//! the kernels one after another ([`Compiler`]) and writes a line before each, and the first reads what stands between
//! these lines ([`run`]). Mesa's drivers for AMD (RADV) and NVIDIA (NVK) are understood.

mod code;
mod nak;
mod process;
mod radv;
mod statistics;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{CliError, print_line};
use tagwave::error::Error;
use tagwave::gpu::{self, Context, Options, Selection};
use tagwave::kernels::LayerKey;
use tagwave::lab::Layer;
use tagwave::tagger::Device;
use tagwave::tensor::DType;

pub(crate) use process::{CompiledKernel, run};

/// Begins the lines of the compiling process.
const MARK: &str = "tagwave-kernel ";

/// Device for compiling, without a cache of pipelines: what is found there is not compiled.
pub(crate) fn device(device: &Device) -> Result<Context, CliError> {
    let selection = match device {
        Device::Adapter(selection) => selection.clone(),
        Device::Auto | Device::Gpu => Selection::Best,
        _ => return Err(CliError::usage("kernels need a GPU: choose one with --device")),
    };
    Ok(Context::request(&selection).map_err(Error::from)?)
}

/// Compiles kernels in the compiling process.
pub(crate) struct Compiler {
    pub(crate) gpu: Context,
    pub(crate) precision: DType,
    /// Batch sizes for which workgroups are counted.
    pub(crate) batches: Vec<u16>,
    /// Codes that were compiled before.
    compiled: HashSet<u64>,
}

impl Compiler {
    /// Compiler for a device and storage type.
    pub(crate) fn new(gpu: Context, precision: DType, batches: Vec<u16>) -> Compiler {
        Compiler { gpu, precision, batches, compiled: HashSet::new() }
    }

    /// Compiles the kernel that `options` select for a layer; `name` takes the place of its own name.
    pub(crate) fn compile(
        &mut self,
        layer: &Layer,
        name: Option<&str>,
        options: &Options,
        is_default: bool,
    ) -> Result<(), CliError> {
        let failed = |error: gpu::GpuError| CliError::from(Error::from(error));
        let unchecked = Options { checked: false, ..options.clone() };
        let selected = gpu::select(&self.gpu, &layer.plan.with_batch(1), &unchecked).map_err(failed)?;
        let mut workgroups = Map::new();
        for &batch in &self.batches {
            let plan = layer.plan.with_batch(batch.into());
            if let Ok(selected) = gpu::select(&self.gpu, &plan, &unchecked) {
                let count: u64 = selected.workgroups.iter().map(|&count| u64::from(count)).product();
                workgroups.insert(batch.to_string(), count.into());
            }
        }
        let adapter = self.gpu.summary();
        let step = &layer.plan.steps()[0];
        let shapes = layer.plan.shapes(step);
        let key = LayerKey::new(&step.op, &layer.plan.call(step, &shapes));
        let mark = json!({
            "adapter": adapter.name, "driver": adapter.driver, "layer": layer.name, "key": key.to_string(),
            "precision": self.precision.to_string(),
            "kernel": name.map_or_else(|| selected.config.to_string(), String::from),
            "default": is_default, "workgroups": workgroups, "code": format!("{:016x}", selected.code),
        });
        eprintln!("{MARK}{mark}");
        if self.compiled.insert(selected.code) {
            gpu::compile(&self.gpu, &selected).map_err(failed)?;
        }
        Ok(())
    }
}

/// Prints a table, or a line of JSON for each kernel.
pub(crate) fn print(kernels: &[CompiledKernel], is_json: bool) -> Result<(), CliError> {
    if is_json {
        return kernels.iter().try_for_each(|kernel| print_line(&Value::Object(kernel.record()).to_string()));
    }
    if let Some(kernel) = kernels.first() {
        print_line(&format!("device {} ({})", kernel.text("adapter"), kernel.text("driver")))?;
    }
    print_line(
        "layer            kernel                                            registers  spilled  scratch B  shared B  instructions  in loop: fma  other  loads/fma",
    )?;
    for kernel in kernels {
        let found = &kernel.statistics;
        let text = |number: Option<u64>| number.map_or("-".into(), |number: u64| number.to_string());
        let inner = found.inner_loop().counts;
        let loads = inner.shared_loads + inner.memory_loads + inner.scalar_loads;
        let other = inner.float + inner.integer + inner.slow;
        print_line(&format!(
            "{:16} {:48} {:>10} {:>8} {:>10} {:>9} {:>13} {:>13} {:>6} {:>10}",
            kernel.text("layer"),
            kernel.text("kernel"),
            text(found.registers),
            text(found.spilled),
            text(found.scratch_bytes),
            text(found.shared_bytes),
            text(found.instructions),
            inner.fma,
            other,
            if inner.fma == 0 {
                "-".into()
            } else {
                format!("{:.3}", f64::from(loads) / f64::from(inner.fma))
            },
        ))?;
    }
    Ok(())
}
