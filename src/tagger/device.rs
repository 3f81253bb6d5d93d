//! Where a model runs: the choice, and the executor behind it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::StageTimes;
use super::auto::{self, Candidate, Refusal, Search};
use super::verdicts::{self, Verdicts};
use crate::cpu::{self, CpuError};
use crate::error::Error;
use crate::gpu::{self, AdapterSummary, Adapters, Gpu, GpuError, Options, suitable_batch};
use crate::kernels::Kernels;
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
    /// The reference implementations: slow, the definition of everything else.
    Reference,
    /// Nowhere: files are decoded and no model runs. The limit of what a device can be fed with.
    None,
    /// A certain adapter.
    Adapter(gpu::Selection),
}

impl Device {
    /// The adapter that it is, if it is one.
    fn selection(&self) -> gpu::Selection {
        match self {
            Device::Adapter(selection) => selection.clone(),
            _ => gpu::Selection::Best,
        }
    }
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

/// A plan made ready somewhere.
#[derive(Debug)]
pub(super) enum Running {
    Gpu { executor: Box<gpu::Executor>, name: Arc<str> },
    Cpu(Box<cpu::Executor>),
    Reference { plan: Plan, max_batch: usize },
    None { max_batch: usize },
}

/// A batch that was begun.
pub(super) struct Ticket {
    running: Arc<Running>,
    pending: Pending,
}

enum Pending {
    OnDevice(gpu::InFlightBatch),
    Done(Vec<(String, HostTensor)>),
}

/// What a batch gave, each output with the name it has in the plan.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) tensors: Vec<(String, HostTensor)>,
    pub(super) device: Arc<str>,
}

/// How a device is opened, and opened again.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) device: Device,
    pub(super) pipeline_cache: Option<PathBuf>,
    pub(super) kernels: Option<KernelsOf>,
    pub(super) kernel_times: bool,
    /// Time limit of a wait for the device; `None` for what suits it.
    pub(super) timeout: Option<Duration>,
    /// Folder in which devices that `auto` refused are remembered.
    pub(super) verdicts: Option<PathBuf>,
    /// The adapter that `auto` took.
    pub(super) picked: Option<Identity>,
}

/// Name, backend, driver and bus address of an adapter: the same one if it is found again.
type Identity = [String; 4];

fn identity(adapter: &AdapterSummary) -> Identity {
    [&adapter.name, &adapter.backend, &adapter.driver, &adapter.pci_bus_id].map(String::clone)
}

/// Which kernels a device runs; asked each time that one is opened.
#[derive(Clone)]
pub(super) struct KernelsOf(pub(super) Arc<dyn Fn(&Gpu) -> Kernels + Send + Sync>);

impl fmt::Debug for KernelsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelsOf")
    }
}

impl Opener {
    /// The device that was asked for, or the one that `auto` took.
    fn open(&self) -> Result<Gpu, GpuError> {
        let adapters = Adapters::all();
        let selection = match &self.picked {
            Some(picked) => {
                let place = adapters.summaries().iter().position(|adapter| identity(adapter) == *picked);
                gpu::Selection::Index(place.ok_or(GpuError::NoAdapter)?)
            }
            None => self.device.selection(),
        };
        Ok(self.equipped(adapters.open(&selection)?))
    }

    /// The device with the pipeline cache and the kernels that were asked for.
    fn equipped(&self, gpu: Gpu) -> Gpu {
        let gpu = self.pipeline_cache.iter().fold(gpu, |gpu, folder| gpu.with_pipeline_cache(folder));
        match &self.kernels {
            Some(KernelsOf(kernels)) => {
                let kernels = kernels(&gpu);
                gpu.with_kernels(kernels)
            }
            None => gpu,
        }
    }

    /// The device that was asked for by name, or an error that says which others there are.
    fn named(&self, plan: &Plan, max_batch: Option<usize>, notes: &Notes) -> Result<Running, Error> {
        let gpu = self.open()?;
        let error = match self.on_gpu(&gpu, plan, max_batch, notes) {
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

    /// The first adapter that runs `plan` rightly, else the CPU; notes say in one line what became of the others.
    fn auto(&mut self, plan: &Plan, max_batch: Option<usize>, notes: &Notes) -> Result<Running, Error> {
        // What the CPU executor cannot do is left to a software driver.
        let half = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
        let together = plan.depends_on_batch() && max_batch != Some(1);
        let adapters = Adapters::all();
        let summaries = adapters.summaries().iter().enumerate();
        let usable = summaries.filter(|(_, adapter)| !adapter.limits.software || half || together);
        let candidates: Vec<Candidate> = usable
            .map(|(index, adapter)| Candidate {
                index,
                name: adapter.name.clone(),
                key: verdicts::key(adapter),
            })
            .collect();
        let mut verdicts = Verdicts::read(self.verdicts.as_deref());
        let Search { found, refused } = auto::first_working(&candidates, &mut verdicts, |candidate| {
            self.attempt(&adapters, candidate, plan, max_batch, notes)
        })?;
        let refused = refused.join("; ");
        if let Some((index, running)) = found {
            self.picked = adapters.summaries().get(index).map(identity);
            if !refused.is_empty() {
                notes.add(format!("{refused}; running on {}", running.name()));
            }
            return Ok(running);
        }
        let why = match adapters.summaries().first() {
            _ if !refused.is_empty() => refused,
            None => GpuError::NoAdapter.to_string(),
            Some(software) => {
                format!("no GPU but the software driver {}, which is slower than the CPU", software.name)
            }
        };
        let plan = plan.with_precision(DType::F32);
        if together {
            notes.add(format!("{why}; running on the reference implementation, which is slow"));
            let max_batch = max_batch.unwrap_or_else(|| suitable_batch(None, &plan));
            return Ok(Running::Reference { plan, max_batch });
        }
        notes.add(format!("{why}; running on the CPU"));
        on_cpu(&plan, max_batch)
    }

    /// Opens a candidate and compiles the plan; hardware also has to give the numbers of the CPU executor.
    fn attempt(
        &self,
        adapters: &Adapters,
        candidate: &Candidate,
        plan: &Plan,
        max_batch: Option<usize>,
        notes: &Notes,
    ) -> Result<Result<Running, Refusal>, Error> {
        let gpu = match adapters.open(&gpu::Selection::Index(candidate.index)) {
            Ok(gpu) => self.equipped(gpu),
            Err(error) => return Ok(Err(Error::from(error).into())),
        };
        let running = match self.on_gpu(&gpu, plan, max_batch, notes) {
            Ok(running) => running,
            // The caller's kernel may be at fault, not the device.
            Err(error) if !gpu.kernels().user_kernels.is_empty() => return Err(error),
            Err(error) => return Ok(Err(error.into())),
        };
        if let (Running::Gpu { executor, .. }, false) = (&running, gpu.summary().limits.software)
            && gpu.kernels().user_kernels.is_empty()
            && let Err(refusal) = auto::check(executor, plan)
        {
            return Ok(Err(refusal));
        }
        Ok(Ok(running))
    }

    /// An executor for batches of `max_batch`, or what suits the device; for as many clips as it has memory for.
    fn on_gpu(
        &self,
        gpu: &Gpu,
        plan: &Plan,
        max_batch: Option<usize>,
        notes: &Notes,
    ) -> Result<Running, Error> {
        let name: Arc<str> = gpu.summary().name.as_str().into();
        let mut max_batch = max_batch.unwrap_or_else(|| suitable_batch(Some(gpu.summary()), plan));
        loop {
            let (timed, timeout) = (self.kernel_times, self.timeout);
            let options = Options { max_batch, timed, timeout, ..Options::default() };
            match gpu::Executor::new(gpu, plan, &options) {
                Ok(executor) => return Ok(Running::Gpu { executor: Box::new(executor), name }),
                Err(error @ GpuError::OutOfMemory { .. }) if max_batch > 1 && !plan.depends_on_batch() => {
                    max_batch /= 2;
                    notes.add(format!("{name}: {error}: going on with batches of {max_batch}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Where a plan runs, and where it goes on when that fails.
#[derive(Debug)]
pub(super) struct Engine {
    opener: Opener,
    /// A device of the caller's cannot be opened again.
    is_shared: bool,
    plan: Plan,
    name: Arc<str>,
    max_batch: usize,
    running: Mutex<Arc<Running>>,
    /// Locked while a device is replaced, so that one loss is mended once.
    health: Mutex<Health>,
    notes: Arc<Notes>,
}

/// How a device has done lately.
#[derive(Debug, Default)]
struct Health {
    /// Times that it was opened again.
    reopened: usize,
    /// Batches that went well since it was last opened.
    good: usize,
}

/// Times that a device is opened again before the CPU takes over.
const REOPENINGS: usize = 1;
/// Batches in a row after which an earlier loss no longer counts.
const FORGIVEN_AFTER: usize = 256;
/// Time limit of opening a device again: a driver that is stuck may never answer.
const REOPENING: Duration = Duration::from_secs(120);
/// Most warnings that are kept for a caller who does not take them.
const MOST_NOTES: usize = 100;

/// What the caller should be told.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<(Vec<String>, usize)>);

impl Notes {
    pub(super) fn add(&self, note: impl Into<String>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.0.len() < MOST_NOTES {
            notes.0.push(note.into());
        } else {
            notes.1 += 1;
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        let (mut notes, left_out) =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if left_out > 0 {
            notes.push(format!("{left_out} more warnings were left out"));
        }
        notes
    }
}

impl Engine {
    /// An engine for `plan`; what the caller might not expect goes to the notes.
    pub(super) fn new(
        mut opener: Opener,
        shared: Option<&Gpu>,
        plan: Plan,
        max_batch: Option<usize>,
        notes: Arc<Notes>,
    ) -> Result<Engine, Error> {
        let elsewhere = || max_batch.unwrap_or_else(|| suitable_batch(None, &plan));
        let running = match (shared, &opener.device) {
            (Some(gpu), _) => opener.on_gpu(gpu, &plan, max_batch, &notes)?,
            (None, Device::Auto) => opener.auto(&plan, max_batch, &notes)?,
            (None, Device::Cpu) => on_cpu(&plan, max_batch)?,
            (None, Device::Reference) => Running::Reference { plan: plan.clone(), max_batch: elsewhere() },
            (None, Device::None) => Running::None { max_batch: elsewhere() },
            (None, _) => opener.named(&plan, max_batch, &notes)?,
        };
        Ok(Engine {
            opener,
            is_shared: shared.is_some(),
            plan,
            name: running.name(),
            max_batch: running.max_batch(),
            running: Mutex::new(Arc::new(running)),
            health: Mutex::default(),
            notes,
        })
    }

    /// Where it was meant to run.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Whether beginning a batch returns before it is computed.
    pub(super) fn overlaps(&self) -> bool {
        matches!(*self.now(), Running::Gpu { .. })
    }

    /// The error for clips that depend on each other and are too many for one batch.
    pub(super) fn too_many(&self, batch: usize) -> Error {
        match *self.now() {
            Running::Cpu(_) => CpuError::DependentBatch { batch }.into(),
            _ => GpuError::DependentBatch { batch, most: self.max_batch }.into(),
        }
    }

    /// Where batches go at the moment.
    pub(super) fn now(&self) -> Arc<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the times that the device itself keeps.
    pub(super) fn add_times(&self, times: &mut StageTimes) {
        let kernels = match &*self.now() {
            Running::Gpu { executor, .. } => {
                let spent = executor.times();
                times.readback += spent.readback;
                spent.kernels
            }
            Running::Cpu(executor) => executor.times(),
            Running::Reference { .. } | Running::None { .. } => return,
        };
        for (kernel, time) in kernels {
            *times.kernels.entry(kernel).or_default() += time;
        }
    }

    /// Hands a batch over; computes it at once where nothing can overlap.
    pub(super) fn begin(&self, input: &HostTensor) -> Result<Ticket, Error> {
        let running = self.now();
        let pending = match &*running {
            Running::Gpu { executor, .. } if input.shape().extent(0) <= executor.max_batch() => {
                Pending::OnDevice(executor.submit(std::slice::from_ref(input))?)
            }
            running => Pending::Done(running.run(input)?),
        };
        Ok(Ticket { running, pending })
    }

    /// Waits for a batch.
    pub(super) fn finish(&self, ticket: Ticket) -> Result<Outputs, Error> {
        let Ticket { running, pending } = ticket;
        let tensors = match (pending, &*running) {
            (Pending::Done(outputs), _) => outputs,
            (Pending::OnDevice(ticket), Running::Gpu { executor, .. }) => {
                let outputs = executor.collect(ticket)?;
                self.health.lock().unwrap_or_else(PoisonError::into_inner).good += 1;
                named(executor.plan(), outputs)
            }
            (Pending::OnDevice(_), _) => return Err(GpuError::Failed { reason: "no device".into() }.into()),
        };
        Ok(Outputs { tensors, device: running.name() })
    }

    /// Runs a batch that failed with `error` on `failed` once more: with less memory, on the device opened again,
    /// or at last on the CPU. The batches after it go the same way.
    pub(super) fn again(
        &self,
        input: &HostTensor,
        failed: Arc<Running>,
        error: Error,
    ) -> Result<Outputs, Error> {
        let (mut failed, mut error) = (failed, error);
        loop {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            // Another batch that was on the same device may have mended it meanwhile.
            if Arc::ptr_eq(&self.now(), &failed) {
                let next = Arc::new(self.instead(&failed, error, &mut health)?);
                *self.running.lock().unwrap_or_else(PoisonError::into_inner) = next;
            }
            drop(health);
            let running = self.now();
            match running.run(input) {
                Ok(tensors) => return Ok(Outputs { tensors, device: running.name() }),
                Err(again) => (failed, error) = (running, again),
            }
        }
    }

    /// What to go on with after `error`, or the error itself where nothing would help.
    fn instead(&self, failed: &Running, error: Error, health: &mut Health) -> Result<Running, Error> {
        let (Running::Gpu { executor, name }, Error::Gpu(gpu_error)) = (failed, &error) else {
            return Err(error);
        };
        let batch = executor.max_batch();
        match gpu_error {
            // Half of what depends on each other would be something else.
            _ if self.plan.depends_on_batch() => Err(error),
            GpuError::OutOfMemory { .. } if batch > 1 => {
                self.notes.add(format!("{name}: {error}: going on with batches of {}", batch / 2));
                self.opener
                    .on_gpu(executor.gpu(), &self.plan, Some(batch / 2), &self.notes)
                    .or_else(|_| self.on_cpu_instead(name))
            }
            GpuError::OutOfMemory { .. } | GpuError::Failed { .. } | GpuError::NotResponding { .. } => {
                if health.good >= FORGIVEN_AFTER {
                    health.reopened = 0;
                }
                health.good = 0;
                let is_lost = !matches!(gpu_error, GpuError::OutOfMemory { .. });
                if is_lost && !self.is_shared && health.reopened < REOPENINGS {
                    health.reopened += 1;
                    match self.reopened(batch) {
                        Ok(running) => {
                            self.notes.add(format!("{name}: {error}: opened it again"));
                            return Ok(running);
                        }
                        Err(why) => self.notes.add(format!("{name}: it cannot be opened again: {why}")),
                    }
                }
                self.notes.add(format!("{name}: {error}"));
                self.on_cpu_instead(name)
            }
            _ => Err(error),
        }
    }

    /// The device opened again, once it has given the right numbers; or why it cannot be used.
    fn reopened(&self, batch: usize) -> Result<Running, String> {
        let (opener, plan, notes) = (self.opener.clone(), self.plan.clone(), self.notes.clone());
        let open = move || -> Result<Running, String> {
            let gpu = opener.open().map_err(|error| error.to_string())?;
            let running =
                opener.on_gpu(&gpu, &plan, Some(batch), &notes).map_err(|error| error.to_string())?;
            match &running {
                Running::Gpu { executor, .. } if gpu.kernels().user_kernels.is_empty() => {
                    auto::check(executor, &plan).map_err(|refusal| refusal.reason)?;
                }
                _ => {}
            }
            Ok(running)
        };
        in_time(REOPENING, open)?
    }

    fn on_cpu_instead(&self, name: &str) -> Result<Running, Error> {
        self.notes.add(format!("warning: the CPU takes over from {name}"));
        on_cpu(&self.plan.with_precision(DType::F32), Some(self.max_batch))
    }
}

impl Running {
    fn name(&self) -> Arc<str> {
        match self {
            Running::Gpu { name, .. } => name.clone(),
            Running::Cpu(_) => "cpu".into(),
            Running::Reference { .. } => "reference".into(),
            Running::None { .. } => "none".into(),
        }
    }

    fn max_batch(&self) -> usize {
        match self {
            Running::Gpu { executor, .. } => executor.max_batch(),
            Running::Cpu(executor) => executor.max_batch(),
            Running::Reference { max_batch, .. } | Running::None { max_batch } => *max_batch,
        }
    }

    /// A whole batch, in parts where the device takes no more.
    fn run(&self, input: &HostTensor) -> Result<Vec<(String, HostTensor)>, Error> {
        let inputs = std::slice::from_ref(input);
        Ok(match self {
            Running::Gpu { executor, .. } => named(executor.plan(), executor.run(inputs)?),
            Running::Cpu(executor) => named(executor.plan(), executor.run(inputs)?),
            Running::Reference { plan, .. } => {
                let plan = plan.with_batch(input.shape().extent(0));
                let outputs = reference::run(&plan, inputs)?;
                named(&plan, outputs)
            }
            Running::None { .. } => Vec::new(),
        })
    }
}

/// The result of `work`, which goes on by itself if it takes longer than `limit`.
fn in_time<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::channel();
    // Nobody listens to a result that comes too late.
    let spawned = thread::Builder::new().spawn(move || drop(sender.send(work())));
    spawned.map_err(|error| format!("no thread can be started for it: {error}"))?;
    receiver.recv_timeout(limit).map_err(|_| format!("nothing happened within {} s", limit.as_secs()))
}

fn named(plan: &Plan, outputs: Vec<HostTensor>) -> Vec<(String, HostTensor)> {
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

fn on_cpu(plan: &Plan, max_batch: Option<usize>) -> Result<Running, Error> {
    // Clips that depend on each other go one at a time.
    let max_batch = if plan.depends_on_batch() { Some(1) } else { max_batch };
    let max_batch = max_batch.unwrap_or_else(|| suitable_batch(None, plan));
    let options = cpu::Options { max_batch, ..cpu::Options::default() };
    Ok(Running::Cpu(Box::new(cpu::Executor::new(plan, &options)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{self, Reading, STATS, Starts};
    use crate::test_cases::{fill_weight, synthetic_clip};
    use crate::weights::Weights;

    #[test]
    fn words_name_devices() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("reference".parse(), Ok(Device::Reference));
        assert_eq!("none".parse(), Ok(Device::None));
        assert_eq!("1".parse(), Ok(Device::Adapter(gpu::Selection::Index(1))));
        assert_eq!("llvm pipe".parse(), Ok(Device::Adapter(gpu::Selection::Name("llvm pipe".into()))));
        assert_eq!(" ".parse::<Device>(), Err(ParseDeviceError));
    }

    fn opener(device: Device) -> Opener {
        Opener {
            device,
            pipeline_cache: None,
            kernels: None,
            kernel_times: false,
            timeout: None,
            verdicts: None,
            picked: None,
        }
    }

    /// The spectrogram's statistics: a plan that is quickly run. `None` without an adapter.
    fn engine(shared: Option<&Gpu>) -> Option<(Engine, HostTensor)> {
        engine_with(shared, None)
    }

    /// The same with a time limit of the device.
    fn engine_with(shared: Option<&Gpu>, timeout: Option<Duration>) -> Option<(Engine, HostTensor)> {
        gpu::adapter()?;
        let model = models::find("compact").unwrap();
        let specs = model.architecture.tensors();
        let filled = specs
            .iter()
            .enumerate()
            .map(|(seed, spec)| (spec.name.clone(), fill_weight(&spec.name, spec.shape, seed)));
        let weights = Weights::from_tensors(filled);
        let plan = model.architecture.build(&weights, Reading::Restored, Starts::Samples).unwrap();
        let plan = plan.only_outputs(&[STATS]).fused();
        let samples = model.architecture.clip().samples;
        let clip = synthetic_clip(samples);
        let input = HostTensor::from_fn([4, samples], |i| clip[i % samples]);
        Some((
            Engine::new(
                Opener {
                    kernels: Some(KernelsOf(Arc::new(|_| Kernels::default()))),
                    kernel_times: true,
                    timeout,
                    ..opener(Device::Gpu)
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

    fn stats(outputs: &Outputs) -> Vec<f32> {
        outputs.tensors[0].1.data().to_vec()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 + 1e-4 * b.abs()), "{a:?} for {b:?}");
    }

    #[test]
    fn batches_overlap_and_come_back_in_any_order() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap();
        let tickets: Vec<Ticket> = (0..3).map(|_| engine.begin(&input).unwrap()).collect();
        for ticket in tickets.into_iter().rev() {
            assert_eq!(stats(&engine.finish(ticket).unwrap()), stats(&expected));
        }
    }

    #[test]
    fn less_memory_halves_the_batch() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap();
        let error = || GpuError::OutOfMemory { what: "a test", bytes: 1 }.into();
        for most in [2, 1] {
            assert_eq!(stats(&engine.again(&input, engine.now(), error()).unwrap()), stats(&expected));
            assert_eq!(engine.now().max_batch(), most);
        }
        let outputs = engine.again(&input, engine.now(), error()).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
        let notes = engine.notes.take().join("\n");
        assert!(notes.contains("batches of 2") && notes.contains("the CPU takes over"), "{notes}");
    }

    #[test]
    fn a_lost_device_is_opened_again() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap();
        let Running::Gpu { executor, .. } = &*engine.now() else { panic!("not on a GPU") };
        executor.gpu().destroy();
        let error = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap_err();
        let outputs = engine.again(&input, engine.now(), error).unwrap();
        assert_eq!(stats(&outputs), stats(&expected));
        let notes = engine.notes.take().join("\n");
        assert!(notes.contains("opened it again"), "{notes}");
    }

    #[test]
    fn the_cpu_takes_over_from_a_lost_device_of_the_callers() {
        let Some(gpu) = gpu::adapter() else { return };
        let Some((engine, input)) = engine(Some(&gpu)) else { return };
        let expected = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap();
        gpu.destroy();
        let error = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap_err();
        let outputs = engine.again(&input, engine.now(), error).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
    }

    fn lose(engine: &Engine) -> Error {
        let Running::Gpu { executor, .. } = &*engine.now() else { panic!("not on a GPU") };
        executor.gpu().destroy();
        GpuError::Failed { reason: "lost".into() }.into()
    }

    #[test]
    fn a_device_that_is_lost_again_and_again_is_left_to_the_cpu() {
        let Some((engine, input)) = engine(None) else { return };
        let first = engine.now();
        let outputs = engine.again(&input, first.clone(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        // A second batch that was on the lost device goes where the first one went.
        let second = engine.now();
        engine.again(&input, first, GpuError::Failed { reason: "lost".into() }.into()).unwrap();
        assert!(Arc::ptr_eq(&second, &engine.now()));
        // Many good batches later the loss is forgiven.
        engine.health.lock().unwrap().good = FORGIVEN_AFTER;
        let outputs = engine.again(&input, engine.now(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        let ticket = engine.begin(&input).unwrap();
        engine.finish(ticket).unwrap();
        assert_eq!(engine.health.lock().unwrap().good, 1);
        let outputs = engine.again(&input, engine.now(), lose(&engine)).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        let notes = engine.notes.take().join("\n");
        assert_eq!(notes.matches("opened it again").count(), 2, "{notes}");
    }

    #[test]
    fn notes_that_nobody_takes_are_bounded() {
        let notes = Notes::default();
        (0..1000).for_each(|index| notes.add(index.to_string()));
        let taken = notes.take();
        assert_eq!(taken.len(), MOST_NOTES + 1);
        assert_eq!(taken[MOST_NOTES], "900 more warnings were left out");
        assert!(notes.take().is_empty());
    }

    #[test]
    fn the_cpu_takes_over_from_a_device_that_does_not_answer() {
        let Some((engine, input)) = engine_with(None, Some(Duration::ZERO)) else { return };
        let tickets: Vec<_> = (0..2).map(|_| (engine.now(), engine.begin(&input))).collect();
        for (running, ticket) in tickets {
            let error = ticket.and_then(|ticket| engine.finish(ticket)).unwrap_err();
            assert!(matches!(error, Error::Gpu(GpuError::NotResponding { .. })), "{error}");
            assert_eq!(&*engine.again(&input, running, error).unwrap().device, "cpu");
        }
        let notes = engine.notes.take().join("\n");
        assert!(notes.contains("did not answer") && notes.contains("the CPU takes over"), "{notes}");
    }

    /// A convolution to one channel, which no kernel of a device writes and the CPU does.
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
    fn auto_goes_on_to_the_cpu_and_a_named_device_gives_advice() {
        let Some(gpu) = gpu::adapter() else { return };
        let name = &gpu.summary().name;
        let error = Engine::new(opener(Device::Gpu), None, impossible(DType::F32), Some(1), Arc::default());
        let error = error.unwrap_err();
        assert!(matches!(&error, Error::Gpu(GpuError::Unusable { advice, .. }) if advice[0] == "auto"));
        assert!(error.to_string().contains(name.as_str()), "{error}");
        // With f16 a software driver is a candidate too.
        let notes = Arc::new(Notes::default());
        let engine =
            Engine::new(opener(Device::Auto), None, impossible(DType::F16), Some(1), notes.clone()).unwrap();
        assert!(matches!(*engine.now(), Running::Cpu(_)));
        let notes = notes.take();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains(name.as_str()) && notes[0].ends_with("running on the CPU"), "{notes:?}");
    }

    #[test]
    fn wrong_numbers_are_noticed() {
        let Some(gpu) = gpu::adapter() else { return };
        let plan = |seed: usize| {
            let config = models::crnn::Config::tiny();
            let specs = models::Architecture::tensors(&config);
            let filled = specs
                .iter()
                .enumerate()
                .map(|(index, spec)| (spec.name.clone(), fill_weight(&spec.name, spec.shape, index + seed)));
            let weights = Weights::from_tensors(filled);
            let plan = models::Architecture::build(&config, &weights, Reading::Restored, Starts::Samples);
            plan.unwrap().fused()
        };
        let executor = gpu::Executor::new(&gpu, &plan(0), &Options::default()).unwrap();
        assert!(auto::check(&executor, &plan(0)).is_ok());
        // The weights of another network stand for a driver that computes something else.
        let refusal = auto::check(&executor, &plan(5)).unwrap_err();
        assert!(refusal.is_lasting && refusal.reason.starts_with("gives wrong "), "{}", refusal.reason);
    }

    #[test]
    fn what_takes_too_long_is_left_alone() {
        assert_eq!(in_time(Duration::from_secs(60), || 3), Ok(3));
        let slow = || thread::sleep(Duration::from_secs(3));
        assert!(in_time(Duration::from_millis(10), slow).unwrap_err().contains("within 0 s"));
    }
}
