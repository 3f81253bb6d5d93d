//! Opening of the executor that a caller asked for.

use super::active::{self, Active, Context};
use super::device::Device;
use super::gpus::GpuSettings;
use super::warnings::{TaggerWarning, Warnings};
#[cfg(feature = "cpu")]
use crate::cpu;
#[cfg(not(feature = "cpu"))]
use crate::error::Cause;
use crate::error::Error;
use crate::executor::DecodeOnly;
use crate::plan::Plan;
use crate::reference;
use crate::tensor::DType;

/// Default batch size of executors on the CPU: with more clips the first result is later, and no faster.
const CPU_BATCH: usize = 8;

/// Settings for opening a device, also after it was lost.
#[derive(Clone, Debug)]
pub(super) struct DeviceFactory {
    pub(super) device: Device,
    pub(super) gpus: GpuSettings,
    /// Threads of the CPU executor; `None` for one per core.
    pub(super) cpu_threads: Option<usize>,
    /// Replacement of a GPU that fails; `None` for the default.
    pub(super) fallback: Option<Fallback>,
}

/// Replacement of a GPU that lacks something or fails ([`TaggerBuilder::fallback`](super::TaggerBuilder::fallback)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// The CPU executor, with a warning.
    Cpu,
    /// Nothing: the error is returned, of the kind [`Device`](crate::ErrorKind::Device) or
    /// [`Resource`](crate::ErrorKind::Resource).
    Error,
}

/// Default batch size on a device of the caller, which has other uses for its memory.
const SHARED_BATCH: usize = 1;

impl DeviceFactory {
    /// Default settings for a device.
    pub(super) fn new(device: Device) -> DeviceFactory {
        DeviceFactory { device, gpus: GpuSettings::default(), cpu_threads: None, fallback: None }
    }

    /// Opens the device for `plan`.
    pub(super) fn prepare(
        &mut self,
        shared: Option<&Context>,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Active, Error> {
        let host_batch = max_batch.unwrap_or(CPU_BATCH);
        Ok(match (shared, &self.device) {
            (Some(gpu), _) => {
                match self.gpus.prepare(gpu, plan, max_batch.or(Some(SHARED_BATCH)), warnings) {
                    Err(error) if self.fallback == Some(Fallback::Cpu) => {
                        let (device, reason) = (active::name(gpu).to_string(), error.to_string());
                        warnings.add(TaggerWarning::CpuFallback { device, reason });
                        self.prepare_cpu(&plan.with_precision(DType::F32), max_batch)?
                    }
                    prepared => prepared?,
                }
            }
            (None, Device::Auto) => match self.gpus.open_auto(plan, max_batch, self.cpu_threads, warnings)? {
                Ok(active) => active,
                Err(reason) => {
                    let active = self.prepare_cpu(&plan.with_precision(DType::F32), max_batch)?;
                    if !reason.is_empty() {
                        warnings.add(TaggerWarning::NoGpu { reason });
                    }
                    active
                }
            },
            (None, Device::Cpu) => self.prepare_cpu(plan, max_batch)?,
            (None, Device::Reference) => Active::on_host(reference::Executor::new(plan, host_batch)),
            (None, Device::None) => Active::on_host(DecodeOnly::new(plan, host_batch)),
            (None, Device::Gpu | Device::Adapter(_)) => {
                self.gpus.open_named(&self.device, plan, max_batch, warnings)?
            }
        })
    }

    /// Makes the CPU executor.
    #[cfg(feature = "cpu")]
    pub(super) fn prepare_cpu(&self, plan: &Plan, max_batch: Option<usize>) -> Result<Active, Error> {
        let max_batch = max_batch.unwrap_or(CPU_BATCH);
        let options = cpu::Options { max_batch, threads: self.cpu_threads, ..cpu::Options::default() };
        Ok(Active::on_host(cpu::Executor::new(plan, &options)?))
    }

    /// Fails: the CPU executor is not built.
    #[cfg(not(feature = "cpu"))]
    #[allow(clippy::unused_self, reason = "the signature with the feature")]
    pub(super) fn prepare_cpu(&self, _: &Plan, _: Option<usize>) -> Result<Active, Error> {
        Err(Cause::NotBuilt { executor: "CPU executor", feature: "cpu" }.into())
    }
}
