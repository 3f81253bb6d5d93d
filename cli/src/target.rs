//! Device of checks and benchmarks.

use super::{CliError, USAGE, with_pipeline_cache};
use tagwave::error::Error;
use tagwave::executor::Executor;
use tagwave::gpu::{Context, GpuError, Selection};
use tagwave::kernels::KernelConfig;
use tagwave::plan::Plan;
use tagwave::tagger::Device;
use tagwave::{cpu, gpu};

/// Options of the executors of checks and benchmarks.
#[derive(Clone, Debug, Default)]
pub(super) struct ExecutorOptions {
    pub(super) max_batch: usize,
    /// Kernel configuration to force on a GPU.
    pub(super) config: Option<KernelConfig>,
    /// True to check indices on a GPU also in release builds.
    pub(super) checked: bool,
    /// Number of CPU threads; `None` for all cores.
    pub(super) threads: Option<usize>,
    /// SIMD level of the CPU; `None` for the widest.
    pub(super) simd_level: Option<cpu::SimdLevel>,
}

/// A GPU adapter or the CPU.
pub(super) enum Target {
    Gpu(Box<Context>),
    Cpu,
}

impl Target {
    /// Opens the requested device; `auto` is the best adapter, including software drivers, else the CPU.
    pub(super) fn new(device: &Device) -> Result<Target, CliError> {
        let selection = match device {
            Device::Adapter(selection) => selection.clone(),
            Device::Auto | Device::Gpu => Selection::Best,
            Device::Cpu => return Ok(Target::Cpu),
            Device::Reference => {
                let message =
                    "the reference implementation is what results are compared with: choose another --device"
                        .into();
                return Err(CliError { message, code: USAGE });
            }
            other => {
                let message = format!("device `{other}` runs no model: choose another --device");
                return Err(CliError { message, code: USAGE });
            }
        };
        match Context::request(&selection) {
            Ok(gpu) => Ok(Target::Gpu(Box::new(with_pipeline_cache(gpu)))),
            Err(GpuError::NoAdapter | GpuError::Device { .. }) if *device == Device::Auto => Ok(Target::Cpu),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// Makes the executor of a plan.
    pub(super) fn executor(
        &self,
        plan: &Plan,
        options: &ExecutorOptions,
    ) -> Result<Box<dyn Executor>, Error> {
        let max_batch = options.max_batch;
        Ok(match self {
            Target::Gpu(gpu) => {
                let defaults = gpu::Options::default();
                let checked = options.checked || defaults.checked;
                let options = gpu::Options { max_batch, config: options.config, checked, ..defaults };
                Box::new(gpu::Executor::new(gpu, plan, &options)?)
            }
            Target::Cpu => {
                let &ExecutorOptions { threads, simd_level, .. } = options;
                let options = cpu::Options { threads, simd_level, max_batch, ..Default::default() };
                Box::new(cpu::Executor::new(plan, &options)?)
            }
        })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Target::Gpu(gpu) => {
                let adapter = gpu.summary();
                format!("{} ({}, {})", adapter.name, adapter.backend, adapter.driver)
            }
            Target::Cpu => "cpu".into(),
        }
    }
}
