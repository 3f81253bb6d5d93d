//! Device selection, executors behind the devices, retry and fallback.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::StageTimes;
use super::auto::{self, Candidate, Refusal, Search};
use super::refused::{self, RefusedDevices};
use crate::cpu::{self, CpuError};
use crate::error::Error;
use crate::gpu::{self, AdapterSummary, Adapters, Gpu, GpuError, Options, suitable_batch};
use crate::kernels::Kernels;
use crate::plan::Plan;
use crate::reference;
use crate::tensor::{DType, HostTensor};

/// Device that a model runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The best GPU, or the CPU if there is none or only a software driver, which is slower.
    #[default]
    Auto,
    /// The best adapter, including software drivers; an error if there is none.
    Gpu,
    /// The fast CPU executor.
    Cpu,
    /// The reference implementation: slow, but the definition of all results.
    Reference,
    /// Decode only, run no model. Measures the upper bound set by decoding.
    None,
    /// A specific adapter.
    Adapter(gpu::Selection),
}

impl Device {
    /// Adapter selection of this device.
    fn selection(&self) -> gpu::Selection {
        match self {
            Device::Adapter(selection) => selection.clone(),
            _ => gpu::Selection::Best,
        }
    }
}

/// Error of parsing a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("empty device name, expected auto, gpu, cpu, reference, an adapter's number or part of its name")]
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
            "none" => Device::None,
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
            Device::None => f.write_str("none"),
            Device::Adapter(gpu::Selection::Best) => f.write_str("gpu"),
            Device::Adapter(gpu::Selection::Index(index)) => write!(f, "{index}"),
            Device::Adapter(gpu::Selection::Name(name)) => f.write_str(name),
        }
    }
}

/// Executor of a plan on one device.
#[derive(Debug)]
pub(super) enum Backend {
    Gpu { executor: Box<gpu::Executor>, name: Arc<str> },
    Cpu(Box<cpu::Executor>),
    Reference { plan: Plan, max_batch: usize },
    None { max_batch: usize },
}

/// Submitted batch.
pub(super) struct PendingBatch {
    backend: Arc<Backend>,
    pending: PendingState,
}

enum PendingState {
    OnDevice(gpu::SubmittedBatch),
    Done(Vec<(String, HostTensor)>),
}

/// Outputs of a batch, each with its name in the plan.
#[derive(Debug)]
pub(super) struct BatchOutputs {
    pub(super) tensors: Vec<(String, HostTensor)>,
    pub(super) device: Arc<str>,
}

/// Settings for opening a device, also after it was lost.
#[derive(Clone, Debug)]
pub(super) struct DeviceFactory {
    pub(super) device: Device,
    pub(super) pipeline_cache: Option<PathBuf>,
    pub(super) kernels: Option<KernelPolicy>,
    pub(super) kernel_times: bool,
    /// Timeout of a wait for the device; `None` for a default that depends on the device.
    pub(super) timeout: Option<Duration>,
    /// Folder of the list of refused devices.
    pub(super) refused_devices: Option<PathBuf>,
    /// Adapter selected by `auto`.
    pub(super) picked: Option<Identity>,
}

/// Identity of an adapter: name, backend, driver and PCI bus address.
type Identity = [String; 4];

fn identity(adapter: &AdapterSummary) -> Identity {
    [&adapter.name, &adapter.backend, &adapter.driver, &adapter.pci_bus_id].map(String::clone)
}

/// Function that selects the kernels of a device; called each time a device is opened.
#[derive(Clone)]
pub(super) struct KernelPolicy(pub(super) Arc<dyn Fn(&Gpu) -> Kernels + Send + Sync>);

impl fmt::Debug for KernelPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelsOf")
    }
}

impl DeviceFactory {
    /// Opens the requested device, or the one that `auto` selected.
    fn open(&self) -> Result<Gpu, GpuError> {
        let adapters = Adapters::all();
        let selection = match &self.picked {
            Some(picked) => {
                let place = adapters.summaries().iter().position(|adapter| identity(adapter) == *picked);
                gpu::Selection::Index(place.ok_or(GpuError::NoAdapter)?)
            }
            None => self.device.selection(),
        };
        Ok(self.configure(adapters.open(&selection)?))
    }

    /// Applies the pipeline cache and the kernel policy to a device.
    fn configure(&self, gpu: Gpu) -> Gpu {
        let gpu = self.pipeline_cache.iter().fold(gpu, |gpu, folder| gpu.with_pipeline_cache(folder));
        match &self.kernels {
            Some(KernelPolicy(kernels)) => {
                let kernels = kernels(&gpu);
                gpu.with_kernels(kernels)
            }
            None => gpu,
        }
    }

    /// Opens a device that was requested by name; the error lists alternatives.
    fn open_named(
        &self,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Backend, Error> {
        let gpu = self.open()?;
        let error = match self.prepare_gpu(&gpu, plan, max_batch, warnings) {
            Err(Error::Gpu(error)) => error,
            outcome => return outcome,
        };
        let name = gpu.summary().name.clone();
        let is_of_device = matches!(
            error,
            GpuError::Shader { .. }
                | GpuError::Dispatch { .. }
                | GpuError::Failed { .. }
                | GpuError::NotResponding { .. }
                | GpuError::OutOfMemory { .. }
        );
        if !is_of_device || !gpu.kernels().user_kernels.is_empty() {
            return Err(error.into());
        }
        let others = gpu::adapters().into_iter().map(|adapter| adapter.name).filter(|other| *other != name);
        let advice = ["auto".to_string(), "cpu".to_string()].into_iter().chain(others).collect();
        Err(GpuError::Unusable { adapter: name, advice, source: Box::new(error) }.into())
    }

    /// Opens the first adapter that runs `plan` correctly, else the CPU; one warning lists the refused adapters.
    fn open_auto(
        &mut self,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Backend, Error> {
        // A software driver is used for what the CPU executor does not support.
        let half = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
        let together = plan.depends_on_batch() && max_batch != Some(1);
        let adapters = Adapters::all();
        let summaries = adapters.summaries().iter().enumerate();
        let usable = summaries.filter(|(_, adapter)| !adapter.limits.software || half || together);
        let candidates: Vec<Candidate> = usable
            .map(|(index, adapter)| Candidate {
                index,
                name: adapter.name.clone(),
                key: refused::key(adapter),
            })
            .collect();
        let mut refused_devices = RefusedDevices::read(self.refused_devices.as_deref());
        let Search { found, refused } =
            auto::first_working(&candidates, &mut refused_devices, |candidate| {
                self.try_candidate(&adapters, candidate, plan, max_batch, warnings)
            })?;
        let refused = refused.join("; ");
        if let Some((index, backend)) = found {
            self.picked = adapters.summaries().get(index).map(identity);
            if !refused.is_empty() {
                warnings.add(format!("{refused}; running on {}", backend.name()));
            }
            return Ok(backend);
        }
        let why = match adapters.summaries().first() {
            _ if !refused.is_empty() => refused,
            None => GpuError::NoAdapter.to_string(),
            Some(software) => {
                format!("no GPU except the software driver {}, which is slower than the CPU", software.name)
            }
        };
        let plan = plan.with_precision(DType::F32);
        if together {
            warnings.add(format!("{why}; running on the reference implementation, which is slow"));
            let max_batch = max_batch.unwrap_or_else(|| suitable_batch(None, &plan));
            return Ok(Backend::Reference { plan, max_batch });
        }
        warnings.add(format!("{why}; running on the CPU"));
        prepare_cpu(&plan, max_batch)
    }

    /// Opens a candidate and compiles the plan; hardware is also checked against the CPU executor.
    fn try_candidate(
        &self,
        adapters: &Adapters,
        candidate: &Candidate,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Result<Backend, Refusal>, Error> {
        let gpu = match adapters.open(&gpu::Selection::Index(candidate.index)) {
            Ok(gpu) => self.configure(gpu),
            Err(error) => return Ok(Err(Error::from(error).into())),
        };
        let backend = match self.prepare_gpu(&gpu, plan, max_batch, warnings) {
            Ok(backend) => backend,
            // The user kernel may be at fault, not the device.
            Err(error) if !gpu.kernels().user_kernels.is_empty() => return Err(error),
            Err(error) => return Ok(Err(error.into())),
        };
        if let (Backend::Gpu { executor, .. }, false) = (&backend, gpu.summary().limits.software)
            && gpu.kernels().user_kernels.is_empty()
            && let Err(refusal) = auto::check(executor, plan)
        {
            return Ok(Err(refusal));
        }
        Ok(Ok(backend))
    }

    /// Makes an executor for batches of `max_batch` clips, or a size that suits the device; halved until it fits memory.
    fn prepare_gpu(
        &self,
        gpu: &Gpu,
        plan: &Plan,
        max_batch: Option<usize>,
        warnings: &Warnings,
    ) -> Result<Backend, Error> {
        let name: Arc<str> = gpu.summary().name.as_str().into();
        let mut max_batch = max_batch.unwrap_or_else(|| suitable_batch(Some(gpu.summary()), plan));
        loop {
            let (timed, timeout) = (self.kernel_times, self.timeout);
            let options = Options { max_batch, timed, timeout, ..Options::default() };
            match gpu::Executor::new(gpu, plan, &options) {
                Ok(executor) => return Ok(Backend::Gpu { executor: Box::new(executor), name }),
                Err(error @ GpuError::OutOfMemory { .. }) if max_batch > 1 && !plan.depends_on_batch() => {
                    max_batch /= 2;
                    warnings.add(format!("{name}: {error}: batch size reduced to {max_batch}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Runs a plan on a device, with retry and fallback.
#[derive(Debug)]
pub(super) struct Engine {
    factory: DeviceFactory,
    /// True for a device of the caller, which cannot be reopened.
    is_shared: bool,
    plan: Plan,
    name: Arc<str>,
    max_batch: usize,
    backend: Mutex<Arc<Backend>>,
    /// Locked while a device is replaced, so that each loss is handled once.
    health: Mutex<Health>,
    warnings: Arc<Warnings>,
}

/// Recent failures of a device.
#[derive(Debug, Default)]
struct Health {
    /// Number of times that it was reopened.
    reopened: usize,
    /// Number of successful batches since it was last opened.
    good: usize,
}

/// Maximum number of times that a device is reopened before the CPU takes over.
const MAX_REOPENS: usize = 1;
/// Number of consecutive successful batches after which an earlier loss no longer counts.
const FORGIVEN_AFTER: usize = 256;
/// Timeout of reopening a device: a hanging driver may never return.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of warnings that are kept until the caller takes them.
const MAX_WARNINGS: usize = 100;

/// Warnings for the caller.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<(Vec<String>, usize)>);

impl Warnings {
    pub(super) fn add(&self, warning: impl Into<String>) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.0.len() < MAX_WARNINGS {
            warnings.0.push(warning.into());
        } else {
            warnings.1 += 1;
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        let (mut warnings, left_out) =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if left_out > 0 {
            warnings.push(format!("{left_out} more warnings were left out"));
        }
        warnings
    }
}

impl Engine {
    /// Makes an engine for `plan`; unexpected decisions are added to the warnings.
    pub(super) fn new(
        mut factory: DeviceFactory,
        shared: Option<&Gpu>,
        plan: Plan,
        max_batch: Option<usize>,
        warnings: Arc<Warnings>,
    ) -> Result<Engine, Error> {
        let elsewhere = || max_batch.unwrap_or_else(|| suitable_batch(None, &plan));
        let backend = match (shared, &factory.device) {
            (Some(gpu), _) => factory.prepare_gpu(gpu, &plan, max_batch, &warnings)?,
            (None, Device::Auto) => factory.open_auto(&plan, max_batch, &warnings)?,
            (None, Device::Cpu) => prepare_cpu(&plan, max_batch)?,
            (None, Device::Reference) => Backend::Reference { plan: plan.clone(), max_batch: elsewhere() },
            (None, Device::None) => Backend::None { max_batch: elsewhere() },
            (None, _) => factory.open_named(&plan, max_batch, &warnings)?,
        };
        Ok(Engine {
            factory,
            is_shared: shared.is_some(),
            plan,
            name: backend.name(),
            max_batch: backend.max_batch(),
            backend: Mutex::new(Arc::new(backend)),
            health: Mutex::default(),
            warnings,
        })
    }

    /// Name of the device that it was opened on.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// True if submitting a batch returns before it is computed.
    pub(super) fn overlaps(&self) -> bool {
        matches!(*self.backend(), Backend::Gpu { .. })
    }

    /// Error for too many clips in a batch whose clips depend on each other.
    pub(super) fn too_many(&self, batch: usize) -> Error {
        match *self.backend() {
            Backend::Cpu(_) => CpuError::DependentBatch { batch }.into(),
            _ => GpuError::DependentBatch { batch, most: self.max_batch }.into(),
        }
    }

    /// The current backend.
    pub(super) fn backend(&self) -> Arc<Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the times measured by the device.
    pub(super) fn add_times(&self, times: &mut StageTimes) {
        let kernels = match &*self.backend() {
            Backend::Gpu { executor, .. } => {
                let spent = executor.times();
                times.readback += spent.readback;
                spent.kernels
            }
            Backend::Cpu(executor) => executor.times(),
            Backend::Reference { .. } | Backend::None { .. } => return,
        };
        for (kernel, time) in kernels {
            *times.kernels.entry(kernel).or_default() += time;
        }
    }

    /// Submits a batch; backends without overlap compute it at once.
    pub(super) fn submit(&self, input: &HostTensor) -> Result<PendingBatch, Error> {
        let backend = self.backend();
        let pending = match &*backend {
            Backend::Gpu { executor, .. } if input.shape().extent(0) <= executor.max_batch() => {
                PendingState::OnDevice(executor.submit(std::slice::from_ref(input))?)
            }
            backend => PendingState::Done(backend.run(input)?),
        };
        Ok(PendingBatch { backend, pending })
    }

    /// Waits for a batch.
    pub(super) fn wait(&self, pending_batch: PendingBatch) -> Result<BatchOutputs, Error> {
        let PendingBatch { backend, pending } = pending_batch;
        let tensors = match (pending, &*backend) {
            (PendingState::Done(outputs), _) => outputs,
            (PendingState::OnDevice(pending_batch), Backend::Gpu { executor, .. }) => {
                let outputs = executor.collect(pending_batch)?;
                self.health.lock().unwrap_or_else(PoisonError::into_inner).good += 1;
                with_names(executor.plan(), outputs)
            }
            (PendingState::OnDevice(_), _) => {
                return Err(GpuError::Failed { reason: "no device".into() }.into());
            }
        };
        Ok(BatchOutputs { tensors, device: backend.name() })
    }

    /// Runs a batch that failed with `error` on `failed` again: with a smaller batch size, on the reopened device, or on
    /// the CPU. Later batches use the new backend.
    pub(super) fn retry(
        &self,
        input: &HostTensor,
        failed: Arc<Backend>,
        error: Error,
    ) -> Result<BatchOutputs, Error> {
        let (mut failed, mut error) = (failed, error);
        loop {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            // Another batch may have replaced the device meanwhile.
            if Arc::ptr_eq(&self.backend(), &failed) {
                let next = Arc::new(self.fallback(&failed, error, &mut health)?);
                *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = next;
            }
            drop(health);
            let backend = self.backend();
            match backend.run(input) {
                Ok(tensors) => return Ok(BatchOutputs { tensors, device: backend.name() }),
                Err(retry) => (failed, error) = (backend, retry),
            }
        }
    }

    /// Chooses the backend to continue with after `error`, or returns the error if there is none.
    fn fallback(&self, failed: &Backend, error: Error, health: &mut Health) -> Result<Backend, Error> {
        let (Backend::Gpu { executor, name }, Error::Gpu(gpu_error)) = (failed, &error) else {
            return Err(error);
        };
        let batch = executor.max_batch();
        match gpu_error {
            // Clips that depend on each other cannot be split.
            _ if self.plan.depends_on_batch() => Err(error),
            GpuError::OutOfMemory { .. } if batch > 1 => {
                self.warnings.add(format!("{name}: {error}: batch size reduced to {}", batch / 2));
                self.factory
                    .prepare_gpu(executor.gpu(), &self.plan, Some(batch / 2), &self.warnings)
                    .or_else(|_| self.cpu_fallback(name))
            }
            GpuError::OutOfMemory { .. } | GpuError::Failed { .. } | GpuError::NotResponding { .. } => {
                if health.good >= FORGIVEN_AFTER {
                    health.reopened = 0;
                }
                health.good = 0;
                let is_lost = !matches!(gpu_error, GpuError::OutOfMemory { .. });
                if is_lost && !self.is_shared && health.reopened < MAX_REOPENS {
                    health.reopened += 1;
                    match self.reopened(batch) {
                        Ok(backend) => {
                            self.warnings.add(format!("{name}: {error}: device reopened"));
                            return Ok(backend);
                        }
                        Err(why) => self.warnings.add(format!("{name}: cannot reopen the device: {why}")),
                    }
                }
                self.warnings.add(format!("{name}: {error}"));
                self.cpu_fallback(name)
            }
            _ => Err(error),
        }
    }

    /// Reopens the device and checks its results.
    fn reopened(&self, batch: usize) -> Result<Backend, String> {
        let (factory, plan, warnings) = (self.factory.clone(), self.plan.clone(), self.warnings.clone());
        let open = move || -> Result<Backend, String> {
            let gpu = factory.open().map_err(|error| error.to_string())?;
            let backend = factory
                .prepare_gpu(&gpu, &plan, Some(batch), &warnings)
                .map_err(|error| error.to_string())?;
            match &backend {
                Backend::Gpu { executor, .. } if gpu.kernels().user_kernels.is_empty() => {
                    auto::check(executor, &plan).map_err(|refusal| refusal.reason)?;
                }
                _ => {}
            }
            Ok(backend)
        };
        with_timeout(REOPEN_TIMEOUT, open)?
    }

    fn cpu_fallback(&self, name: &str) -> Result<Backend, Error> {
        self.warnings.add(format!("warning: falling back from {name} to the CPU"));
        prepare_cpu(&self.plan.with_precision(DType::F32), Some(self.max_batch))
    }
}

impl Backend {
    fn name(&self) -> Arc<str> {
        match self {
            Backend::Gpu { name, .. } => name.clone(),
            Backend::Cpu(_) => "cpu".into(),
            Backend::Reference { .. } => "reference".into(),
            Backend::None { .. } => "none".into(),
        }
    }

    fn max_batch(&self) -> usize {
        match self {
            Backend::Gpu { executor, .. } => executor.max_batch(),
            Backend::Cpu(executor) => executor.max_batch(),
            Backend::Reference { max_batch, .. } | Backend::None { max_batch } => *max_batch,
        }
    }

    /// Runs a whole batch, in parts if the device takes fewer clips.
    fn run(&self, input: &HostTensor) -> Result<Vec<(String, HostTensor)>, Error> {
        let inputs = std::slice::from_ref(input);
        Ok(match self {
            Backend::Gpu { executor, .. } => with_names(executor.plan(), executor.run(inputs)?),
            Backend::Cpu(executor) => with_names(executor.plan(), executor.run(inputs)?),
            Backend::Reference { plan, .. } => {
                let plan = plan.with_batch(input.shape().extent(0));
                let outputs = reference::run(&plan, inputs)?;
                with_names(&plan, outputs)
            }
            Backend::None { .. } => Vec::new(),
        })
    }
}

/// Runs `work` on a thread and returns its result; after `limit` the thread is abandoned.
fn with_timeout<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::channel();
    // A late result is dropped.
    let spawned = thread::Builder::new().spawn(move || drop(sender.send(work())));
    spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    receiver.recv_timeout(limit).map_err(|_| format!("no answer within {} s", limit.as_secs()))
}

fn with_names(plan: &Plan, outputs: Vec<HostTensor>) -> Vec<(String, HostTensor)> {
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

fn prepare_cpu(plan: &Plan, max_batch: Option<usize>) -> Result<Backend, Error> {
    // Clips that depend on each other run one at a time.
    let max_batch = if plan.depends_on_batch() { Some(1) } else { max_batch };
    let max_batch = max_batch.unwrap_or_else(|| suitable_batch(None, plan));
    let options = cpu::Options { max_batch, ..cpu::Options::default() };
    Ok(Backend::Cpu(Box::new(cpu::Executor::new(plan, &options)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{self, Compat, STATS, Starts};
    use crate::test_cases::{fill_weight, synthetic_clip};
    use crate::weights::Weights;

    #[test]
    fn devices_are_parsed() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("reference".parse(), Ok(Device::Reference));
        assert_eq!("none".parse(), Ok(Device::None));
        assert_eq!("1".parse(), Ok(Device::Adapter(gpu::Selection::Index(1))));
        assert_eq!("llvm pipe".parse(), Ok(Device::Adapter(gpu::Selection::Name("llvm pipe".into()))));
        assert_eq!(" ".parse::<Device>(), Err(ParseDeviceError));
    }

    fn factory(device: Device) -> DeviceFactory {
        DeviceFactory {
            device,
            pipeline_cache: None,
            kernels: None,
            kernel_times: false,
            timeout: None,
            refused_devices: None,
            picked: None,
        }
    }

    /// Engine for the statistics of the spectrogram, a small plan; `None` without an adapter.
    fn engine(shared: Option<&Gpu>) -> Option<(Engine, HostTensor)> {
        engine_with(shared, None)
    }

    /// As [`engine`], with a device timeout.
    fn engine_with(shared: Option<&Gpu>, timeout: Option<Duration>) -> Option<(Engine, HostTensor)> {
        gpu::adapter()?;
        let model = models::find("compact").unwrap();
        let specs = model.architecture.tensors();
        let filled = specs
            .iter()
            .enumerate()
            .map(|(seed, spec)| (spec.name.clone(), fill_weight(&spec.name, spec.shape, seed)));
        let weights = Weights::from_tensors(filled);
        let plan = model.architecture.build(&weights, Compat::Corrected, Starts::Samples).unwrap();
        let plan = plan.only_outputs(&[STATS]).fused();
        let samples = model.architecture.clip().samples;
        let clip = synthetic_clip(samples);
        let input = HostTensor::from_fn([4, samples], |i| clip[i % samples]);
        Some((
            Engine::new(
                DeviceFactory {
                    kernels: Some(KernelPolicy(Arc::new(|_| Kernels::default()))),
                    kernel_times: true,
                    timeout,
                    ..factory(Device::Gpu)
                },
                shared,
                plan,
                Some(4),
                Arc::default(),
            )
            .unwrap(),
            input,
        ))
    }

    fn stats(outputs: &BatchOutputs) -> Vec<f32> {
        outputs.tensors[0].1.data().to_vec()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 + 1e-4 * b.abs()), "{a:?} for {b:?}");
    }

    #[test]
    fn batches_overlap_and_can_be_waited_for_in_any_order() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap();
        let tickets: Vec<PendingBatch> = (0..3).map(|_| engine.submit(&input).unwrap()).collect();
        for pending_batch in tickets.into_iter().rev() {
            assert_eq!(stats(&engine.wait(pending_batch).unwrap()), stats(&expected));
        }
    }

    #[test]
    fn out_of_memory_halves_the_batch() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap();
        let error = || GpuError::OutOfMemory { what: "a test", bytes: 1 }.into();
        for most in [2, 1] {
            assert_eq!(stats(&engine.retry(&input, engine.backend(), error()).unwrap()), stats(&expected));
            assert_eq!(engine.backend().max_batch(), most);
        }
        let outputs = engine.retry(&input, engine.backend(), error()).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
        let warnings = engine.warnings.take().join("\n");
        assert!(
            warnings.contains("batch size reduced to 2") && warnings.contains("to the CPU"),
            "{warnings}"
        );
    }

    #[test]
    fn a_lost_device_is_reopened() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap();
        let Backend::Gpu { executor, .. } = &*engine.backend() else { panic!("not on a GPU") };
        executor.gpu().destroy();
        let error = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap_err();
        let outputs = engine.retry(&input, engine.backend(), error).unwrap();
        assert_eq!(stats(&outputs), stats(&expected));
        let warnings = engine.warnings.take().join("\n");
        assert!(warnings.contains("device reopened"), "{warnings}");
    }

    #[test]
    fn a_lost_device_of_the_caller_falls_back_to_the_cpu() {
        let Some(gpu) = gpu::adapter() else { return };
        let Some((engine, input)) = engine(Some(&gpu)) else { return };
        let expected = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap();
        gpu.destroy();
        let error = engine.submit(&input).and_then(|pending_batch| engine.wait(pending_batch)).unwrap_err();
        let outputs = engine.retry(&input, engine.backend(), error).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
    }

    fn lose(engine: &Engine) -> Error {
        let Backend::Gpu { executor, .. } = &*engine.backend() else { panic!("not on a GPU") };
        executor.gpu().destroy();
        GpuError::Failed { reason: "lost".into() }.into()
    }

    #[test]
    fn a_device_lost_repeatedly_falls_back_to_the_cpu() {
        let Some((engine, input)) = engine(None) else { return };
        let first = engine.backend();
        let outputs = engine.retry(&input, first.clone(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        // A second batch that was on the lost device goes where the first one went.
        let second = engine.backend();
        engine.retry(&input, first, GpuError::Failed { reason: "lost".into() }.into()).unwrap();
        assert!(Arc::ptr_eq(&second, &engine.backend()));
        // After many successful batches the loss no longer counts.
        engine.health.lock().unwrap().good = FORGIVEN_AFTER;
        let outputs = engine.retry(&input, engine.backend(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        let pending_batch = engine.submit(&input).unwrap();
        engine.wait(pending_batch).unwrap();
        assert_eq!(engine.health.lock().unwrap().good, 1);
        let outputs = engine.retry(&input, engine.backend(), lose(&engine)).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        let warnings = engine.warnings.take().join("\n");
        assert_eq!(warnings.matches("device reopened").count(), 2, "{warnings}");
    }

    #[test]
    fn warnings_are_bounded() {
        let warnings = Warnings::default();
        (0..1000).for_each(|index| warnings.add(index.to_string()));
        let taken = warnings.take();
        assert_eq!(taken.len(), MAX_WARNINGS + 1);
        assert_eq!(taken[MAX_WARNINGS], "900 more warnings were left out");
        assert!(warnings.take().is_empty());
    }

    #[test]
    fn a_device_that_does_not_answer_falls_back_to_the_cpu() {
        let Some((engine, input)) = engine_with(None, Some(Duration::ZERO)) else { return };
        let tickets: Vec<_> = (0..2).map(|_| (engine.backend(), engine.submit(&input))).collect();
        for (backend, pending_batch) in tickets {
            let error = pending_batch.and_then(|pending_batch| engine.wait(pending_batch)).unwrap_err();
            assert!(matches!(error, Error::Gpu(GpuError::NotResponding { .. })), "{error}");
            assert_eq!(&*engine.retry(&input, backend, error).unwrap().device, "cpu");
        }
        let warnings = engine.warnings.take().join("\n");
        assert!(warnings.contains("did not answer") && warnings.contains("to the CPU"), "{warnings}");
    }

    /// A convolution to one channel, which only the CPU executor supports.
    fn impossible(precision: DType) -> Plan {
        let mut builder = crate::plan::Builder::new();
        let x = builder.input("x", [1, 2, 6, 7]);
        let weights = vec![HostTensor::zeros([1, 2, 3, 3]), HostTensor::zeros([1])];
        let op = crate::kernels::Op::Conv2d(crate::kernels::Conv2d::default());
        let y = builder.step("conv", op, &[x], weights).unwrap();
        builder.output("y", y);
        builder.finish().with_precision(precision)
    }

    #[test]
    fn auto_falls_back_to_the_cpu_and_a_named_device_gives_advice() {
        let Some(gpu) = gpu::adapter() else { return };
        let name = &gpu.summary().name;
        let error = Engine::new(factory(Device::Gpu), None, impossible(DType::F32), Some(1), Arc::default());
        let error = error.unwrap_err();
        assert!(matches!(&error, Error::Gpu(GpuError::Unusable { advice, .. }) if advice[0] == "auto"));
        assert!(error.to_string().contains(name.as_str()), "{error}");
        // With f16 a software driver is a candidate too.
        let warnings = Arc::new(Warnings::default());
        let engine =
            Engine::new(factory(Device::Auto), None, impossible(DType::F16), Some(1), warnings.clone())
                .unwrap();
        assert!(matches!(*engine.backend(), Backend::Cpu(_)));
        let warnings = warnings.take();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains(name.as_str()) && warnings[0].ends_with("running on the CPU"),
            "{warnings:?}"
        );
    }

    #[test]
    fn wrong_results_are_detected() {
        let Some(gpu) = gpu::adapter() else { return };
        let plan = |seed: usize| {
            let config = models::crnn::Config::tiny();
            let specs = models::Architecture::tensors(&config);
            let filled = specs
                .iter()
                .enumerate()
                .map(|(index, spec)| (spec.name.clone(), fill_weight(&spec.name, spec.shape, index + seed)));
            let weights = Weights::from_tensors(filled);
            let plan = models::Architecture::build(&config, &weights, Compat::Corrected, Starts::Samples);
            plan.unwrap().fused()
        };
        let executor = gpu::Executor::new(&gpu, &plan(0), &Options::default()).unwrap();
        assert!(auto::check(&executor, &plan(0)).is_ok());
        // Other weights stand for a driver with wrong results.
        let refusal = auto::check(&executor, &plan(5)).unwrap_err();
        assert!(refusal.is_permanent && refusal.reason.starts_with("wrong "), "{}", refusal.reason);
    }

    #[test]
    fn slow_work_is_abandoned() {
        assert_eq!(with_timeout(Duration::from_secs(60), || 3), Ok(3));
        let slow = || thread::sleep(Duration::from_secs(3));
        assert!(with_timeout(Duration::from_millis(10), slow).unwrap_err().contains("within 0 s"));
    }
}
