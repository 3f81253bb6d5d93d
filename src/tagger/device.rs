//! Where a model runs: the choice, and the executor behind it.

use std::fmt;
use std::str::FromStr;

use crate::cpu::{self, CpuError};
use crate::error::Error;
use crate::gpu::{self, Gpu, GpuError, Options};
use crate::plan::Plan;
use crate::reference;
use crate::tensor::{DType, HostTensor};

/// Where a model runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The best GPU, or the CPU where there is none: a software driver is slower than that.
    #[default]
    Auto,
    /// The best adapter, a software driver too; an error where there is none.
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
    Cpu(Box<cpu::Executor>),
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
        let quietly = |engine: Result<Engine, Error>| engine.map(|engine| (engine, None));
        if let Some(gpu) = shared {
            return quietly(Engine::on_gpu(gpu, &plan, max_batch));
        }
        match device {
            Device::Auto => Engine::auto(&plan, max_batch),
            Device::Gpu => quietly(Engine::on_gpu(&Gpu::request(&gpu::Selection::Best)?, &plan, max_batch)),
            Device::Adapter(selection) => {
                quietly(Engine::on_gpu(&Gpu::request(selection)?, &plan, max_batch))
            }
            Device::Cpu => quietly(Engine::on_cpu(&plan, max_batch)),
            Device::Reference => Ok((Engine::Reference { plan, max_batch }, None)),
        }
    }

    fn auto(plan: &Plan, max_batch: usize) -> Result<(Engine, Option<String>), Error> {
        let note = match Gpu::request(&gpu::Selection::Best) {
            Ok(gpu) => {
                // What the CPU executor cannot do is left to a software driver.
                let half = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
                let together = plan.couples_clips() && max_batch > 1;
                if !gpu.summary().limits.software || half || together {
                    return Ok((Engine::on_gpu(&gpu, plan, max_batch)?, None));
                }
                format!("no GPU but the software driver {}, which is slower than the CPU", gpu.summary().name)
            }
            Err(error @ (GpuError::NoAdapter | GpuError::Device { .. })) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        Ok((Engine::on_cpu(plan, max_batch)?, Some(format!("{note}; running on the CPU"))))
    }

    fn on_gpu(gpu: &Gpu, plan: &Plan, max_batch: usize) -> Result<Engine, Error> {
        let options = Options { max_batch, ..Options::default() };
        let executor = Box::new(gpu::Executor::new(gpu, plan, &options)?);
        Ok(Engine::Gpu { executor, name: gpu.summary().name.clone() })
    }

    fn on_cpu(plan: &Plan, max_batch: usize) -> Result<Engine, Error> {
        // Clips that depend on each other go one at a time.
        let max_batch = if plan.couples_clips() { 1 } else { max_batch };
        let options = cpu::Options { max_batch, ..cpu::Options::default() };
        Ok(Engine::Cpu(Box::new(cpu::Executor::new(plan, &options)?)))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Engine::Gpu { name, .. } => name,
            Engine::Cpu(_) => "cpu",
            Engine::Reference { .. } => "reference",
        }
    }

    pub(super) fn max_batch(&self) -> usize {
        match self {
            Engine::Gpu { executor, .. } => executor.max_batch(),
            Engine::Cpu(executor) => executor.max_batch(),
            Engine::Reference { max_batch, .. } => *max_batch,
        }
    }

    /// The error for clips that depend on each other and are too many for one batch.
    pub(super) fn too_many(&self, batch: usize) -> Error {
        match self {
            Engine::Cpu(_) => CpuError::CoupledBatch { batch }.into(),
            _ => GpuError::CoupledBatch { batch, most: self.max_batch() }.into(),
        }
    }

    /// The plan's outputs for one batch, each with the name it has in the plan.
    pub(super) fn run(&self, input: HostTensor) -> Result<Vec<(String, HostTensor)>, Error> {
        let (plan, outputs) = match self {
            Engine::Gpu { executor, .. } => (executor.plan(), executor.run(&[input])?),
            Engine::Cpu(executor) => (executor.plan(), executor.run(&[input])?),
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
