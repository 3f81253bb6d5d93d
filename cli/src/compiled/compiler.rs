//! The compiling process: compiles kernels one after another and writes a line before each.

use std::collections::HashSet;

use serde_json::{Map, json};

use crate::CliError;
use tagwave::error::Error;
use tagwave::gpu::{self, Context, Options, Selection};
use tagwave::kernels::LayerKey;
use tagwave::lab::Layer;
use tagwave::tagger::Device;
use tagwave::tensor::DType;

/// Begins the lines of the compiling process.
pub(super) const MARK: &str = "tagwave-kernel ";

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
        say!("{MARK}{mark}");
        if self.compiled.insert(selected.code) {
            gpu::compile(&self.gpu, &selected).map_err(failed)?;
        }
        Ok(())
    }
}
