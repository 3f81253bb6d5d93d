//! Where a model runs: the choice, and the executor behind it.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::gpu::{self, Gpu, GpuError, Options};
use crate::plan::Plan;
use crate::reference;
use crate::tensor::HostTensor;

/// Where a model runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The best adapter, or the CPU where there is none.
    #[default]
    Auto,
    /// The best adapter; an error where there is none.
    Gpu,
    /// The CPU, as fast as it goes.
    Cpu,
    /// The CPU twins: slow, the definition of everything else.
    Reference,
    /// A certain adapter.
    Adapter(gpu::Selection),
}

/// Why a word does not name a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, gpu, cpu, reference, a number or a part of an adapter's name, found nothing")]
pub struct ParseDeviceError;

impl FromStr for Device {
    type Err = ParseDeviceError;

    fn from_str(word: &str) -> Result<Device, ParseDeviceError> {
        Ok(match word.trim() {
            "" => return Err(ParseDeviceError),
            "auto" => Device::Auto,
            "gpu" => Device::Gpu,
            "cpu" => Device::Cpu,
            "reference" => Device::Reference,
            word => Device::Adapter(match word.parse() {
                Ok(index) => gpu::Selection::Index(index),
                Err(_) => gpu::Selection::Name(word.to_string()),
            }),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Gpu => f.write_str("gpu"),
            Device::Cpu => f.write_str("cpu"),
            Device::Reference => f.write_str("reference"),
            Device::Adapter(gpu::Selection::Best) => f.write_str("gpu"),
            Device::Adapter(gpu::Selection::Index(index)) => write!(f, "{index}"),
            Device::Adapter(gpu::Selection::Name(name)) => f.write_str(name),
        }
    }
}

/// A plan made ready somewhere.
#[derive(Debug)]
pub(super) enum Engine {
    Gpu { executor: Box<gpu::Executor>, name: String },
    Reference { plan: Plan, max_batch: usize },
}

impl Engine {
    /// An engine for `plan`, and a note when it is not where the caller might expect it.
    pub(super) fn new(
        device: &Device,
        shared: Option<&Gpu>,
        plan: Plan,
        max_batch: usize,
    ) -> Result<(Engine, Option<String>), Error> {
        let on_gpu = |gpu: &Gpu| -> Result<Engine, Error> {
            let options = Options { max_batch, ..Options::default() };
            let executor = Box::new(gpu::Executor::new(gpu, &plan, &options)?);
            Ok(Engine::Gpu { executor, name: gpu.summary().name.clone() })
        };
        if let Some(gpu) = shared {
            return Ok((on_gpu(gpu)?, None));
        }
        let selection = match device {
            Device::Auto | Device::Gpu => gpu::Selection::Best,
            Device::Adapter(selection) => selection.clone(),
            Device::Cpu | Device::Reference => return Ok((Engine::Reference { plan, max_batch }, None)),
        };
        match Gpu::request(&selection) {
            Ok(gpu) => Ok((on_gpu(&gpu)?, None)),
            Err(error @ (GpuError::NoAdapter | GpuError::Device { .. })) if *device == Device::Auto => {
                Ok((Engine::Reference { plan, max_batch }, Some(format!("{error}; running on the CPU"))))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Engine::Gpu { name, .. } => name,
            Engine::Reference { .. } => "reference",
        }
    }

    pub(super) fn max_batch(&self) -> usize {
        match self {
            Engine::Gpu { executor, .. } => executor.max_batch(),
            Engine::Reference { max_batch, .. } => *max_batch,
        }
    }

    /// The plan's outputs for one batch, each with the name it has in the plan.
    pub(super) fn run(&self, input: HostTensor) -> Result<Vec<(String, HostTensor)>, Error> {
        let (plan, outputs) = match self {
            Engine::Gpu { executor, .. } => (executor.plan(), executor.run(&[input])?),
            Engine::Reference { plan, .. } => {
                let batch = input.shape().extent(0);
                (plan, reference::run(&plan.with_batch(batch), &[input])?)
            }
        };
        Ok(plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_devices() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("reference".parse(), Ok(Device::Reference));
        assert_eq!("1".parse(), Ok(Device::Adapter(gpu::Selection::Index(1))));
        assert_eq!("llvm pipe".parse(), Ok(Device::Adapter(gpu::Selection::Name("llvm pipe".into()))));
        assert_eq!(" ".parse::<Device>(), Err(ParseDeviceError));
    }
}
