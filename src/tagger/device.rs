//! Where a model runs: the choice, and the executor behind it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::StageTimes;
use crate::cpu::{self, CpuError};
use crate::error::Error;
use crate::gpu::{self, Gpu, GpuError, Options, suitable_batch};
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
    /// The CPU twins: slow, the definition of everything else.
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
    OnDevice(gpu::Ticket),
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
    fn open(&self) -> Result<Gpu, GpuError> {
        let gpu = Gpu::request(&self.device.selection())?;
        let gpu = self.pipeline_cache.iter().fold(gpu, |gpu, folder| gpu.with_pipeline_cache(folder));
        Ok(match &self.kernels {
            Some(KernelsOf(kernels)) => {
                let kernels = kernels(&gpu);
                gpu.with_kernels(kernels)
            }
            None => gpu,
        })
    }

    fn auto(&self, plan: &Plan, max_batch: Option<usize>, notes: &Notes) -> Result<Running, Error> {
        let note = match self.open() {
            Ok(gpu) => {
                // What the CPU executor cannot do is left to a software driver.
                let half = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
                let together = plan.couples_clips() && max_batch != Some(1);
                if !gpu.summary().limits.software || half || together {
                    return self.on_gpu(&gpu, plan, max_batch, notes);
                }
                format!("no GPU but the software driver {}, which is slower than the CPU", gpu.summary().name)
            }
            Err(error @ (GpuError::NoAdapter | GpuError::Device { .. })) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        notes.add(format!("{note}; running on the CPU"));
        on_cpu(plan, max_batch)
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
            let options = Options { max_batch, timed: self.kernel_times, ..Options::default() };
            match gpu::Executor::new(gpu, plan, &options) {
                Ok(executor) => return Ok(Running::Gpu { executor: Box::new(executor), name }),
                Err(error @ GpuError::OutOfMemory { .. }) if max_batch > 1 && !plan.couples_clips() => {
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
    notes: Arc<Notes>,
}

/// What the caller should be told.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Vec<String>>);

impl Notes {
    pub(super) fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note.into());
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// An engine for `plan`; what the caller might not expect goes to the notes.
    pub(super) fn new(
        opener: Opener,
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
            (None, _) => opener.on_gpu(&opener.open()?, &plan, max_batch, &notes)?,
        };
        Ok(Engine {
            opener,
            is_shared: shared.is_some(),
            plan,
            name: running.name(),
            max_batch: running.max_batch(),
            running: Mutex::new(Arc::new(running)),
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
            Running::Cpu(_) => CpuError::CoupledBatch { batch }.into(),
            _ => GpuError::CoupledBatch { batch, most: self.max_batch }.into(),
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
                named(executor.plan(), executor.collect(ticket)?)
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
        let mut opened = false;
        loop {
            // Another batch that was on the same device may have mended it meanwhile.
            if Arc::ptr_eq(&self.now(), &failed) {
                let next = Arc::new(self.instead(&failed, error, &mut opened)?);
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if Arc::ptr_eq(&running, &failed) {
                    *running = next;
                }
            }
            let running = self.now();
            match running.run(input) {
                Ok(tensors) => return Ok(Outputs { tensors, device: running.name() }),
                Err(again) => (failed, error) = (running, again),
            }
        }
    }

    /// What to go on with after `error`, or the error itself where nothing would help.
    fn instead(&self, failed: &Running, error: Error, opened: &mut bool) -> Result<Running, Error> {
        let (Running::Gpu { executor, name }, Error::Gpu(gpu_error)) = (failed, &error) else {
            return Err(error);
        };
        let batch = executor.max_batch();
        match gpu_error {
            // Half of what depends on each other would be something else.
            _ if self.plan.couples_clips() => Err(error),
            GpuError::OutOfMemory { .. } if batch > 1 => {
                self.notes.add(format!("{name}: {error}: going on with batches of {}", batch / 2));
                self.opener
                    .on_gpu(executor.gpu(), &self.plan, Some(batch / 2), &self.notes)
                    .or_else(|_| self.on_cpu_instead(name))
            }
            GpuError::OutOfMemory { .. } | GpuError::Failed { .. } => {
                if !self.is_shared && !*opened && matches!(gpu_error, GpuError::Failed { .. }) {
                    *opened = true;
                    let reopened = self.opener.open().map_err(Error::from);
                    let again = |gpu: Gpu| self.opener.on_gpu(&gpu, &self.plan, Some(batch), &self.notes);
                    if let Ok(running) = reopened.and_then(again) {
                        self.notes.add(format!("{name}: {error}: opened it again"));
                        return Ok(running);
                    }
                }
                self.notes.add(format!("{name}: {error}"));
                self.on_cpu_instead(name)
            }
            _ => Err(error),
        }
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

fn named(plan: &Plan, outputs: Vec<HostTensor>) -> Vec<(String, HostTensor)> {
    plan.outputs().iter().map(|(name, _)| name.clone()).zip(outputs).collect()
}

fn on_cpu(plan: &Plan, max_batch: Option<usize>) -> Result<Running, Error> {
    // Clips that depend on each other go one at a time.
    let max_batch = if plan.couples_clips() { Some(1) } else { max_batch };
    let max_batch = max_batch.unwrap_or_else(|| suitable_batch(None, plan));
    let options = cpu::Options { max_batch, ..cpu::Options::default() };
    Ok(Running::Cpu(Box::new(cpu::Executor::new(plan, &options)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{self, Reading, STATS, Starts};
    use crate::problems::{paint_weight, synthetic_clip};
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

    /// The spectrogram's statistics: a plan that is quickly run. `None` without an adapter.
    fn engine(shared: Option<&Gpu>) -> Option<(Engine, HostTensor)> {
        Gpu::request(&gpu::Selection::Best).ok()?;
        let model = models::find("compact").unwrap();
        let specs = model.architecture.tensors();
        let painted = specs
            .iter()
            .enumerate()
            .map(|(seed, spec)| (spec.name.clone(), paint_weight(&spec.name, spec.shape, seed)));
        let weights = Weights::from_tensors(painted);
        let plan = model.architecture.build(&weights, Reading::Restored, Starts::Samples).unwrap();
        let plan = plan.only_outputs(&[STATS]).fused();
        let samples = model.architecture.clip().samples;
        let clip = synthetic_clip(samples);
        let input = HostTensor::from_fn([4, samples], |i| clip[i % samples]);
        Some((
            Engine::new(
                Opener {
                    device: Device::Gpu,
                    pipeline_cache: None,
                    kernels: Some(KernelsOf(Arc::new(|_| Kernels::default()))),
                    kernel_times: true,
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
        let Ok(gpu) = Gpu::request(&gpu::Selection::Best) else { return };
        let Some((engine, input)) = engine(Some(&gpu)) else { return };
        let expected = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap();
        gpu.destroy();
        let error = engine.begin(&input).and_then(|ticket| engine.finish(ticket)).unwrap_err();
        let outputs = engine.again(&input, engine.now(), error).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
    }
}
