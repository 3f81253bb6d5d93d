//! Device of checks and benchmarks.

use super::{CliError, USAGE, with_pipeline_cache};
use crate::error::Error;
use crate::gpu::{Gpu, GpuError, Selection};
use crate::tagger::Device;

/// A GPU adapter or the CPU.
pub(super) enum Target {
    Gpu(Box<Gpu>),
    Cpu,
}

impl Target {
    /// Opens the requested device; `auto` is the best adapter, including software drivers, else the CPU.
    pub(super) fn new(device: &Device) -> Result<Target, CliError> {
        let selection = match device {
            Device::Cpu => return Ok(Target::Cpu),
            Device::Reference => {
                let message =
                    "the reference implementation is what results are compared with: choose another --device"
                        .into();
                return Err(CliError { message, code: USAGE });
            }
            Device::None => {
                return Err(CliError {
                    message: "device `none` runs no model: choose another --device".into(),
                    code: USAGE,
                });
            }
            Device::Adapter(selection) => selection.clone(),
            Device::Auto | Device::Gpu => Selection::Best,
        };
        match Gpu::request(&selection) {
            Ok(gpu) => Ok(Target::Gpu(Box::new(with_pipeline_cache(gpu)))),
            Err(GpuError::NoAdapter | GpuError::Device { .. }) if *device == Device::Auto => Ok(Target::Cpu),
            Err(error) => Err(Error::from(error).into()),
        }
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
