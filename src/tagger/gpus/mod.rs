//! Opening of GPUs: by name, by trying candidates, and again after a loss.

mod auto;
mod known;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::active::{Active, Context};
use super::device::Device;
use super::warnings::{TaggerWarning, Warnings};
use crate::error::Error;
use crate::executor::{ExecuteError, Selection};
use crate::gpu::{self, AdapterSummary, AdapterType, Adapters, GpuError, Options, suitable_batch};
use crate::kernels::Kernels;
use crate::plan::Plan;
use crate::tensor::DType;
use auto::{Candidate, Refusal, Search, Working};
use known::{Finding, KnownDevices};

/// Settings for opening GPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct GpuSettings {
    /// Folder for compiled pipelines.
    pub(super) pipeline_cache: Option<PathBuf>,
    pub(super) kernels: Option<KernelPolicy>,
    pub(super) kernel_times: bool,
    /// Timeout of a wait for the device; `None` for a default that depends on the device.
    pub(super) timeout: Option<Duration>,
    /// Folder of the list of known devices.
    pub(super) known_devices: Option<PathBuf>,
    /// Adapter selected by `auto`.
    pub(super) picked: Option<Identity>,
}

/// Identity of an adapter: name, backend, driver and PCI bus address.
pub(super) type Identity = [String; 4];

fn identity(adapter: &AdapterSummary) -> Identity {
    [&adapter.name, &adapter.backend, &adapter.driver, &adapter.pci_bus_id].map(String::clone)
}

/// Function that selects the kernels of a device; called each time a device is opened.
#[derive(Clone)]
pub(super) struct KernelPolicy(pub(super) Arc<dyn Fn(&Context) -> Kernels + Send + Sync>);

impl fmt::Debug for KernelPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelPolicy")
    }
}

impl GpuSettings {
    /// Opens the requested device, or the one that `auto` selected.
    fn open(&self, device: &Device) -> Result<Context, GpuError> {
        let adapters = Adapters::all();
        let selection = match &self.picked {
            Some(picked) => {
                let place = adapters.summaries().iter().position(|adapter| identity(adapter) == *picked);
                Selection::Index(place.ok_or(GpuError::NoAdapter)?)
            }
            None => device.selection(),
        };
        Ok(self.configure(adapters.open(&selection)?))
    }

    /// Applies the pipeline cache and the kernel policy to a device.
    fn configure(&self, gpu: Context) -> Context {
        let gpu = self.pipeline_cache.iter().fold(gpu, |gpu, folder| gpu.with_pipeline_cache(folder));
        match &self.kernels {
            Some(KernelPolicy(kernels)) => {
                let kernels = kernels(&gpu);
                gpu.with_kernels(kernels)
            }
            None => gpu,
        }
    }

    /// Opens a device that was requested by name, and checks the results of hardware; the error lists alternatives.
    pub(in crate::tagger) fn open_named(
        &self,
        device: &Device,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Active, Error> {
        let gpu = self.open(device)?;
        let prepared = self.prepare(&gpu, plan, max_batch, warnings);
        // Software drivers are slow, and tested with every kernel.
        let is_checked = !gpu.summary().limits.software;
        let check = |active| if is_checked { checked(active, &gpu, plan) } else { Ok(active) };
        let error = match prepared.and_then(check) {
            Err(error) => error,
            Ok(active) => return Ok(active),
        };
        let name = gpu.summary().name.clone();
        let is_of_device =
            matches!(error, GpuError::Shader { .. } | GpuError::Dispatch { .. } | GpuError::Execute(_));
        if !is_of_device || !gpu.kernels().user_kernels.is_empty() {
            return Err(error.into());
        }
        let others = gpu::adapters().into_iter().map(|adapter| adapter.name).filter(|other| *other != name);
        let advice = ["auto".to_string(), "cpu".to_string()].into_iter().chain(others).collect();
        Err(GpuError::Unusable { adapter: name, advice, source: Box::new(error) }.into())
    }

    /// Opens the first adapter that runs `plan` correctly, or returns a note for the user, which may be empty. One warning lists
    /// the refused adapters.
    pub(in crate::tagger) fn open_auto(
        &mut self,
        plan: &Plan,
        max_batch: Option<usize>,
        cpu_threads: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Result<Active, String>, Error> {
        // A software driver is used for what the CPU executor does not support.
        let half = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
        let adapters = Adapters::all();
        let summaries = adapters.summaries().iter().enumerate();
        let usable = summaries.filter(|(_, adapter)| !adapter.limits.software || half);
        let candidates: Vec<Candidate> = usable
            .map(|(index, adapter)| Candidate { index, name: adapter.name.clone(), key: known::key(adapter) })
            .collect();
        let mut known = KnownDevices::read(self.known_devices.as_deref());
        let Search { found, refused } =
            auto::first_working(&candidates, &mut known, |candidate, finding| {
                self.try_candidate(&adapters, (candidate, finding), plan, [max_batch, cpu_threads], warnings)
            })?;
        let refused = refused.join("; ");
        if let Some((index, active)) = found {
            self.picked = adapters.summaries().get(index).map(identity);
            if !refused.is_empty() {
                let device = active.executor.device().to_string();
                warnings.add(TaggerWarning::Refused { refused, device });
            }
            return Ok(Ok(active));
        }
        // No note for software drivers, and none for GPUs that an earlier run has found to be slower than the CPU.
        Ok(Err(if adapters.summaries().is_empty() { GpuError::NoAdapter.to_string() } else { refused }))
    }

    /// Opens a candidate and compiles the plan. Hardware is checked against the CPU executor, and measured if it may be the
    /// slower one: a GPU without memory of its own.
    fn try_candidate(
        &self,
        adapters: &Adapters,
        (candidate, finding): (&Candidate, Option<Finding>),
        plan: &Plan,
        [max_batch, cpu_threads]: [Option<usize>; 2],
        warnings: &Warnings,
    ) -> Result<Result<Working<Active>, Refusal>, Error> {
        let gpu = match adapters.open(&Selection::Index(candidate.index)) {
            Ok(gpu) => self.configure(gpu),
            Err(error) => return Ok(Err(Error::from(error).into())),
        };
        let active = match self.prepare(&gpu, plan, max_batch, warnings) {
            Ok(active) => active,
            // The user kernel may be at fault, not the device.
            Err(error) if !gpu.kernels().user_kernels.is_empty() => return Err(error.into()),
            Err(error) => return Ok(Err(Error::from(error).into())),
        };
        let mut speed = None;
        if !gpu.summary().limits.software && gpu.kernels().user_kernels.is_empty() {
            if let Err(refusal) = auto::check(&*active.executor, plan) {
                return Ok(Err(refusal));
            }
            if gpu.summary().adapter_type != AdapterType::Discrete && finding.is_none() {
                speed = match auto::compare_speed(&*active.executor, plan, cpu_threads) {
                    Ok(speed) => speed,
                    Err(refusal) => return Ok(Err(refusal)),
                };
            }
        }
        Ok(Ok(Working { value: active, speed }))
    }

    /// Makes an executor for batches of `max_batch` clips, or a size that suits the device; halved until it fits memory.
    pub(in crate::tagger) fn prepare(
        &self,
        gpu: &Context,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Active, GpuError> {
        let name = &gpu.summary().name;
        let mut max_batch = max_batch.unwrap_or_else(|| suitable_batch(gpu.summary(), plan));
        loop {
            let (timed, timeout) = (self.kernel_times, self.timeout);
            let options = Options { max_batch, timed, timeout, ..Options::default() };
            match gpu::Executor::new(gpu, plan, &options) {
                Ok(executor) => {
                    return Ok(Active { executor: Arc::new(executor), gpu: Some(gpu.clone()) });
                }
                Err(GpuError::Execute(error @ ExecuteError::OutOfMemory { .. })) if max_batch > 1 => {
                    max_batch /= 2;
                    warnings.add(TaggerWarning::BatchReduced {
                        device: name.clone(),
                        reason: error.to_string(),
                        clips: max_batch,
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a lost device again and checks its results.
    pub(in crate::tagger) fn reopen(
        &self,
        device: &Device,
        plan: &Plan,
        max_batch: usize,
        warnings: &Warnings,
    ) -> Result<Active, String> {
        let gpu = self.open(device).map_err(|error| error.to_string())?;
        let prepared = self.prepare(&gpu, plan, Some(max_batch), warnings);
        prepared.and_then(|active| checked(active, &gpu, plan)).map_err(|error| error.to_string())
    }
}

/// Compares the results of a device with those of the CPU executor; results of user kernels are the user's.
fn checked(active: Active, gpu: &Context, plan: &Plan) -> Result<Active, GpuError> {
    if gpu.kernels().user_kernels.is_empty() {
        auto::check(&*active.executor, plan)
            .map_err(|Refusal { reason, .. }| ExecuteError::Failed { reason })?;
    }
    Ok(active)
}

/// Finding of `auto` about a device on earlier runs, kept in `folder`: whether it is used, and why; `None` if it was not
/// measured and not refused.
#[cfg(feature = "unstable")]
pub fn device_finding(adapter: &AdapterSummary, folder: &std::path::Path) -> Option<(bool, String)> {
    let known = KnownDevices::read(Some(folder));
    let (finding, reason) = known.find(&known::key(adapter))?;
    Some((finding == Finding::Faster, reason.to_string()))
}
