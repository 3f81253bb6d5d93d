//! Runs a plan on a device, with retry and fallback.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::StageTimes;
use super::active::{Active, Context};
use super::device::Device;
use super::factory::{DeviceFactory, Fallback};
use super::warnings::{TaggerWarning, Warnings};
use crate::error::Error;
use crate::executor::blocking::{self, Run};
use crate::executor::{ExecuteError, Inputs, Submission};
use crate::plan::Plan;
use crate::tensor::{DType, HostTensor};

/// Maximum number of times that a device is reopened before the CPU takes over.
const MAX_REOPENS: usize = 1;
/// Number of consecutive successful batches after which an earlier loss no longer counts.
const FORGIVEN_AFTER: usize = 256;
/// Timeout of reopening a device: a hanging driver may never return.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(120);

/// Executor of a plan that is replaced when its device fails.
#[derive(Debug)]
pub(super) struct Engine {
    factory: DeviceFactory,
    /// True for a device of the caller, which cannot be reopened.
    is_shared: bool,
    plan: Plan,
    name: Arc<str>,
    max_batch: usize,
    active: Mutex<Arc<Active>>,
    /// Locked while a device is replaced, so that each loss is handled once.
    health: Mutex<Health>,
    warnings: Warnings,
}

/// Recent failures of a device.
#[derive(Debug, Default)]
struct Health {
    /// Number of times that it was reopened.
    reopened: usize,
    /// Number of successful batches since it was last opened.
    good: usize,
}

/// Batch that was submitted, or that could not be submitted.
#[derive(Debug)]
pub(super) struct PendingBatch {
    inputs: Inputs,
    active: Arc<Active>,
    submission: Result<Submission, ExecuteError>,
}

/// Outputs of a batch.
#[derive(Debug)]
pub(super) struct BatchOutputs {
    /// Outputs in the order of the plan.
    pub(super) tensors: Vec<HostTensor>,
    /// Name of the device.
    pub(super) device: Arc<str>,
}

impl BatchOutputs {
    fn new(tensors: Vec<HostTensor>, active: &Active) -> BatchOutputs {
        BatchOutputs { tensors, device: active.executor.device().into() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens a device for `plan`; unexpected decisions are added to the warnings.
    pub(super) fn new(
        mut factory: DeviceFactory,
        shared: Option<&Context>,
        plan: Plan,
        max_batch: Option<usize>,
        warnings: Warnings,
    ) -> Result<Engine, Error> {
        let active = factory.prepare(shared, &plan, max_batch, &warnings)?;
        Ok(Engine::on(active, factory, shared.is_some(), plan, warnings))
    }

    /// Engine that runs `plan` on an open executor.
    fn on(active: Active, factory: DeviceFactory, is_shared: bool, plan: Plan, warnings: Warnings) -> Engine {
        Engine {
            factory,
            is_shared,
            plan,
            name: active.executor.device().into(),
            max_batch: active.executor.max_batch(),
            active: Mutex::new(Arc::new(active)),
            health: Mutex::default(),
            warnings,
        }
    }

    /// Another plan on the same device.
    pub(super) fn with_plan(&self, plan: Plan, max_batch: usize) -> Result<Engine, Error> {
        let mut factory = self.factory.clone();
        let active = match &self.active().gpu {
            // The search found no GPU, or the CPU took over.
            None if !matches!(factory.device, Device::Cpu | Device::Reference | Device::None) => {
                factory.prepare_cpu(&plan.with_precision(DType::F32), Some(max_batch))?
            }
            gpu => factory.prepare(gpu.as_ref(), &plan, Some(max_batch), &self.warnings)?,
        };
        Ok(Engine::on(active, factory, self.is_shared, plan, self.warnings.clone()))
    }

    /// Name of the device that it was opened on.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Number of batches to keep in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.active().executor.in_flight()
    }

    /// Bytes of memory on the device; zero for executors that are no GPU.
    pub(super) fn device_bytes(&self) -> u64 {
        self.active().executor.device_bytes()
    }

    /// The executor in use.
    pub(super) fn active(&self) -> Arc<Active> {
        lock(&self.active).clone()
    }

    /// Adds the times measured by the device.
    pub(super) fn add_times(&self, times: &mut StageTimes) {
        let spent = self.active().executor.times();
        times.readback += spent.readback;
        for (kernel, time) in spent.kernels {
            *times.kernels.entry(kernel).or_default() += time;
        }
    }

    /// Submits a batch without waiting.
    pub(super) fn submit(&self, inputs: Inputs) -> PendingBatch {
        let active = self.active();
        let submission = if inputs.batch() > active.executor.max_batch() {
            // A smaller executor took over: the wait runs the batch in parts.
            Err(ExecuteError::Batch { batch: inputs.batch(), most: active.executor.max_batch() })
        } else {
            active.executor.submit(&inputs)
        };
        PendingBatch { inputs, active, submission }
    }

    /// Waits for a batch. After an error of the device it is run again: with a smaller batch size, on the reopened device,
    /// or on the CPU. Later batches use the new executor.
    pub(super) fn wait(&self, batch: PendingBatch) -> Result<BatchOutputs, Error> {
        let PendingBatch { inputs, active, submission } = batch;
        let error = match submission.and_then(blocking::wait) {
            Ok(outputs) => {
                lock(&self.health).good += 1;
                return Ok(BatchOutputs::new(outputs.tensors, &active));
            }
            Err(ExecuteError::Batch { .. } | ExecuteError::Busy { .. }) => match active.executor.run(&inputs)
            {
                Ok(tensors) => return Ok(BatchOutputs::new(tensors, &active)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.retry(&inputs, active, error)
    }

    /// As [`Engine::wait`], but leaves the batch where it is and returns `None` if it is not complete. Only after an error of
    /// the device does it wait, for the batch to be run again.
    pub(super) fn try_wait(&self, pending: &mut Option<PendingBatch>) -> Option<Result<BatchOutputs, Error>> {
        let batch = pending.as_mut()?;
        if let Ok(submission) = &mut batch.submission {
            let result = submission.try_take()?;
            batch.submission = result.map(|outputs| Submission::ready(Ok(outputs)));
        }
        pending.take().map(|batch| self.wait(batch))
    }

    /// Runs a batch that failed with `error` on `failed` again.
    fn retry(
        &self,
        inputs: &Inputs,
        failed: Arc<Active>,
        error: ExecuteError,
    ) -> Result<BatchOutputs, Error> {
        let (mut failed, mut error) = (failed, error);
        loop {
            {
                let mut health = lock(&self.health);
                // Another batch may have replaced the device meanwhile.
                if Arc::ptr_eq(&self.active(), &failed) {
                    let next = Arc::new(self.fallback(&failed, error, &mut health)?);
                    *lock(&self.active) = next;
                }
            }
            let active = self.active();
            match active.executor.run(inputs) {
                Ok(tensors) => return Ok(BatchOutputs::new(tensors, &active)),
                Err(retry) => (failed, error) = (active, retry),
            }
        }
    }

    /// Chooses the executor to continue with after `error`, or returns the error if there is none.
    fn fallback(&self, failed: &Active, error: ExecuteError, health: &mut Health) -> Result<Active, Error> {
        let Some(gpu) = &failed.gpu else { return Err(error.into()) };
        let (name, batch) = (failed.executor.device(), failed.executor.max_batch());
        let is_lost = match &error {
            ExecuteError::OutOfMemory { .. } if batch > 1 => {
                self.warnings.add(TaggerWarning::BatchReduced {
                    device: name.into(),
                    reason: error.to_string(),
                    clips: batch / 2,
                });
                return self
                    .factory
                    .gpus
                    .prepare(gpu, &self.plan, Some(batch / 2), &self.warnings)
                    .or_else(|error| self.cpu_fallback(name, error));
            }
            ExecuteError::OutOfMemory { .. } => false,
            ExecuteError::Failed { .. } | ExecuteError::NotResponding { .. } | ExecuteError::Cancelled => {
                true
            }
            _ => return Err(error.into()),
        };
        if health.good >= FORGIVEN_AFTER {
            health.reopened = 0;
        }
        health.good = 0;
        if is_lost && !self.is_shared && health.reopened < MAX_REOPENS {
            health.reopened += 1;
            match self.reopened(batch) {
                Ok(active) => {
                    let (device, reason) = (name.into(), error.to_string());
                    self.warnings.add(TaggerWarning::Reopened { device, reason });
                    return Ok(active);
                }
                Err(reason) => self.warnings.add(TaggerWarning::NotReopened { device: name.into(), reason }),
            }
        }
        self.cpu_fallback(name, error)
    }

    /// Reopens the device and checks its results.
    fn reopened(&self, batch: usize) -> Result<Active, String> {
        let (factory, plan, warnings) = (self.factory.clone(), self.plan.clone(), self.warnings.clone());
        let open = move || factory.gpus.reopen(&factory.device, &plan, batch, &warnings);
        with_timeout(REOPEN_TIMEOUT, open)?
    }

    /// Makes the CPU executor after `device` failed with `error`, or returns the error if the caller wants none.
    fn cpu_fallback(&self, device: &str, error: impl Into<Error>) -> Result<Active, Error> {
        let error = error.into();
        if self.factory.fallback == Some(Fallback::Error) {
            return Err(error);
        }
        let reason = error.to_string();
        self.warnings.add(TaggerWarning::CpuFallback { device: device.into(), reason });
        self.factory.prepare_cpu(&self.plan.with_precision(DType::F32), Some(self.max_batch))
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

#[cfg(all(test, feature = "cpu", feature = "gpu"))]
mod tests {
    use super::*;
    use crate::error::Cause;
    use crate::gpu::{self, GpuError};
    use crate::kernels::Kernels;
    use crate::lab::synthetic_weights;
    use crate::models::{self, Compat, STATS, Starts};
    use crate::tagger::gpus::{GpuSettings, KernelPolicy};
    use crate::test_cases::synthetic_clip;

    /// Engine for the statistics of the spectrogram, a small plan; `None` without an adapter.
    fn engine(shared: Option<&Context>) -> Option<(Engine, Inputs)> {
        engine_with(shared, None)
    }

    /// As [`engine`], with a device timeout.
    fn engine_with(shared: Option<&Context>, timeout: Option<Duration>) -> Option<(Engine, Inputs)> {
        gpu::adapter()?;
        let model = models::find("compact").unwrap();
        let weights = synthetic_weights(model.architecture(), 0);
        let plan = model.architecture().build(&weights, Compat::Corrected, Starts::Samples).unwrap();
        let plan = plan.only_outputs(&[STATS]).fused();
        let samples = model.architecture().clip().samples;
        let clip = synthetic_clip(samples);
        let input = HostTensor::from_fn([4, samples], |i| clip[i % samples]);
        let gpus = GpuSettings {
            kernels: Some(KernelPolicy(Arc::new(|_| Kernels::default()))),
            kernel_times: true,
            timeout,
            ..GpuSettings::default()
        };
        Some((
            Engine::new(
                DeviceFactory { gpus, ..DeviceFactory::new(Device::Gpu) },
                shared,
                plan,
                Some(4),
                Warnings::default(),
            )
            .unwrap(),
            input.into(),
        ))
    }

    /// Texts of all warnings.
    fn texts(warnings: &Warnings) -> String {
        warnings.take().iter().map(|warning| format!("{warning}\n")).collect()
    }

    fn stats(outputs: &BatchOutputs) -> Vec<f32> {
        outputs.tensors[0].data().to_vec()
    }

    fn run(engine: &Engine, input: &Inputs) -> Result<BatchOutputs, Error> {
        engine.wait(engine.submit(input.clone()))
    }

    /// Error of a batch on the current device, without retry.
    fn error(engine: &Engine, input: &Inputs) -> ExecuteError {
        engine.submit(input.clone()).submission.and_then(blocking::wait).unwrap_err()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 + 1e-4 * b.abs()), "{a:?} for {b:?}");
    }

    #[test]
    fn batches_overlap_and_can_be_waited_for_in_any_order() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = run(&engine, &input).unwrap();
        let tickets: Vec<PendingBatch> = (0..3).map(|_| engine.submit(input.clone())).collect();
        for pending_batch in tickets.into_iter().rev() {
            assert_eq!(stats(&engine.wait(pending_batch).unwrap()), stats(&expected));
        }
    }

    #[test]
    fn out_of_memory_halves_the_batch() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = run(&engine, &input).unwrap();
        let error = || ExecuteError::OutOfMemory { what: "a test", bytes: 1 };
        for most in [2, 1] {
            assert_eq!(stats(&engine.retry(&input, engine.active(), error()).unwrap()), stats(&expected));
            assert_eq!(engine.active().executor.max_batch(), most);
        }
        let outputs = engine.retry(&input, engine.active(), error()).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
        let warnings = texts(&engine.warnings);
        assert!(
            warnings.contains("batch size reduced to 2") && warnings.contains("to the CPU"),
            "{warnings}"
        );
    }

    #[test]
    fn a_lost_device_is_reopened() {
        let Some((engine, input)) = engine(None) else { return };
        let expected = run(&engine, &input).unwrap();
        engine.active().gpu.as_ref().unwrap().destroy();
        let error = error(&engine, &input);
        let outputs = engine.retry(&input, engine.active(), error).unwrap();
        assert_eq!(stats(&outputs), stats(&expected));
        let warnings = texts(&engine.warnings);
        assert!(warnings.contains("device reopened"), "{warnings}");
    }

    #[test]
    fn a_lost_device_of_the_caller_falls_back_to_the_cpu() {
        let Some(gpu) = gpu::adapter() else { return };
        let Some((engine, input)) = engine(Some(&gpu)) else { return };
        let expected = run(&engine, &input).unwrap();
        gpu.destroy();
        let error = error(&engine, &input);
        let outputs = engine.retry(&input, engine.active(), error).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        close(&stats(&outputs), &stats(&expected));
    }

    fn lose(engine: &Engine) -> ExecuteError {
        engine.active().gpu.as_ref().unwrap().destroy();
        ExecuteError::Failed { reason: "lost".into() }
    }

    #[test]
    fn a_device_lost_repeatedly_falls_back_to_the_cpu() {
        let Some((engine, input)) = engine(None) else { return };
        let first = engine.active();
        let outputs = engine.retry(&input, first.clone(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        // A second batch that was on the lost device goes where the first one went.
        let second = engine.active();
        engine.retry(&input, first, ExecuteError::Failed { reason: "lost".into() }).unwrap();
        assert!(Arc::ptr_eq(&second, &engine.active()));
        // After many successful batches the loss no longer counts.
        engine.health.lock().unwrap().good = FORGIVEN_AFTER;
        let outputs = engine.retry(&input, engine.active(), lose(&engine)).unwrap();
        assert_ne!(&*outputs.device, "cpu");
        run(&engine, &input).unwrap();
        assert_eq!(engine.health.lock().unwrap().good, 1);
        let outputs = engine.retry(&input, engine.active(), lose(&engine)).unwrap();
        assert_eq!(&*outputs.device, "cpu");
        let warnings = texts(&engine.warnings);
        assert_eq!(warnings.matches("device reopened").count(), 2, "{warnings}");
    }

    #[test]
    fn a_device_that_does_not_answer_falls_back_to_the_cpu() {
        let Some((engine, input)) = engine_with(None, Some(Duration::ZERO)) else { return };
        let lost = engine.active();
        for _ in 0..2 {
            let error = lost.executor.submit(&input).and_then(blocking::wait).unwrap_err();
            assert!(matches!(error, ExecuteError::NotResponding { .. }), "{error}");
            assert_eq!(&*engine.retry(&input, lost.clone(), error).unwrap().device, "cpu");
        }
        let warnings = texts(&engine.warnings);
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
        let error = Engine::new(
            DeviceFactory::new(Device::Gpu),
            None,
            impossible(DType::F32),
            Some(1),
            Warnings::default(),
        );
        let error = error.unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Gpu(GpuError::Unusable { advice, .. }) if advice[0] == "auto")
        );
        assert!(error.to_string().contains(name.as_str()), "{error}");
        // With f16 a software driver is a candidate too.
        let warnings = Warnings::default();
        let engine = Engine::new(
            DeviceFactory::new(Device::Auto),
            None,
            impossible(DType::F16),
            Some(1),
            warnings.clone(),
        )
        .unwrap();
        assert_eq!(engine.active().executor.device(), "cpu");
        let warnings = warnings.take();
        assert!(
            matches!(&*warnings, [TaggerWarning::NoGpu { reason }] if reason.contains(name.as_str())),
            "{warnings:?}"
        );
    }

    #[test]
    fn slow_work_is_abandoned() {
        assert_eq!(with_timeout(Duration::from_secs(60), || 3), Ok(3));
        let slow = || thread::sleep(Duration::from_secs(3));
        assert!(with_timeout(Duration::from_millis(10), slow).unwrap_err().contains("within 0 s"));
    }
}
