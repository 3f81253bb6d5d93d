//! The device a check or a bench runs on.

use super::{Failed, USAGE, with_pipeline_cache};
use crate::error::Error;
use crate::gpu::{Gpu, GpuError, Selection};
use crate::tagger::Device;

/// An adapter or the CPU.
pub(super) enum Target {
    Gpu(Box<Gpu>),
    Cpu,
}

impl Target {
    /// The device asked for; `auto` is the best adapter, a software driver too, else the CPU.
    pub(super) fn new(device: &Device) -> Result<Target, Failed> {
        let selection = match device {
            Device::Cpu => return Ok(Target::Cpu),
            Device::Reference => {
                let message = "the reference is what everything is held against: name another device".into();
                return Err(Failed { message, code: USAGE });
            }
            Device::None => {
                return Err(Failed {
                    message: "`none` runs no model: name another device".into(),
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
