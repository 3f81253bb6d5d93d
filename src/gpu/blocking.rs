//! Waiting for a device, and polling it in the background: the only calls of `gpu` that block.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::recorder::PlanRecorder;
use super::timing::Timestamps;
use super::{AdapterSummary, Adapters, Context, GpuError, Selection, failed};
use crate::executor::{Driver, ExecuteError};

/// Timeout for a `map_async` callback after its submission has completed.
const MAPPING_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of one wait of the background thread.
const BACKGROUND_WAIT: Duration = Duration::from_secs(1);

/// Lists all adapters of this machine, the one that [`Selection::Best`] takes first.
pub fn adapters() -> Vec<AdapterSummary> {
    Adapters::all().summaries().to_vec()
}

impl Adapters {
    /// Finds all adapters, the one that [`Selection::Best`] takes first.
    pub fn all() -> Adapters {
        pollster::block_on(Adapters::find())
    }

    /// Opens a device on the adapter that `selection` names.
    ///
    /// # Errors
    /// As [`Context::request`].
    pub fn open(&self, selection: &Selection) -> Result<Context, GpuError> {
        pollster::block_on(self.request(selection))
    }
}

impl Context {
    /// Opens a device, for programs that have none.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] and [`GpuError::NoMatch`] if no adapter fits, [`GpuError::Device`] if the driver gives no
    /// device.
    pub fn request(selection: &Selection) -> Result<Context, GpuError> {
        Adapters::all().open(selection)
    }

    /// Waits for a submission, or for all of them, for at most `limit`.
    ///
    /// A device that does not answer in time is abandoned: nothing waits for it again, and it is never freed, since
    /// freeing waits without a limit.
    pub(super) fn wait(
        &self,
        submission_index: Option<wgpu::SubmissionIndex>,
        limit: Duration,
    ) -> Result<(), ExecuteError> {
        self.check_responding(limit)?;
        let poll = || self.device.poll(wgpu::PollType::Wait { submission_index, timeout: Some(limit) });
        // A limit of zero is over before the device can have done anything.
        match if limit.is_zero() { Err(wgpu::PollError::Timeout) } else { poll() } {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => {
                if !self.is_stuck.swap(true, Ordering::AcqRel) {
                    std::mem::forget((self.device.clone(), self.queue.clone()));
                }
                Err(ExecuteError::NotResponding { limit_s: limit.as_secs() })
            }
            Err(error) => Err(ExecuteError::Failed { reason: error.to_string() }),
        }
    }

    /// Maps a buffer, waits for the device and reads it.
    pub(super) fn read_buffer<T>(
        &self,
        buffer: &wgpu::Buffer,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, GpuError> {
        let failed = |reason: String| ExecuteError::Failed { reason };
        let (sender, receiver) = mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // Fails if the wait below has ended.
            let _ = sender.send(result);
        });
        self.wait(None, self.default_timeout(1))?;
        receiver
            .recv_timeout(MAPPING_TIMEOUT)
            .map_err(|_| failed("the device was lost".into()))?
            .map_err(|error| failed(error.to_string()))?;
        let value = {
            let bytes = buffer.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
            read(&bytes)
        };
        buffer.unmap();
        Ok(value)
    }
}

/// Driver of one submission.
#[derive(Debug)]
pub(super) struct GpuDriver {
    pub(super) gpu: Context,
    pub(super) index: wgpu::SubmissionIndex,
}

impl Driver for GpuDriver {
    fn poll(&self) {
        if self.gpu.is_owned && !self.gpu.is_stuck.load(Ordering::Acquire) {
            // A lost device is reported by the callbacks.
            let _ = self.gpu.device.poll(wgpu::PollType::Poll);
        }
    }

    fn poll_in_background(&self) {
        if self.gpu.is_owned && !self.gpu.is_stuck.load(Ordering::Acquire) {
            self.gpu.poll_in_background();
        }
    }

    fn wait(&self, limit: Duration) -> Result<(), ExecuteError> {
        self.gpu.wait(Some(self.index.clone()), limit)
    }
}

impl Context {
    /// Driver of a submission.
    pub(super) fn driver(&self, index: wgpu::SubmissionIndex) -> GpuDriver {
        GpuDriver { gpu: self.clone(), index }
    }

    /// Starts the background thread, or lets it go on.
    fn poll_in_background(&self) {
        let poller = &self.poller;
        poller.is_requested.store(true, Ordering::Release);
        let mut is_running = poller.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_running {
            return;
        }
        let work = {
            let gpu = self.clone();
            move || gpu.run_poller()
        };
        *is_running = true;
        drop(is_running);
        if thread::Builder::new().name("tagwave device".into()).spawn(work).is_err() {
            // Without a thread the caller waits.
            self.run_poller();
        }
    }

    fn run_poller(&self) {
        let poller = &self.poller;
        loop {
            poller.is_requested.store(false, Ordering::Release);
            let polled = self
                .device
                .poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(BACKGROUND_WAIT) });
            let mut is_running = poller.is_running.lock().unwrap_or_else(PoisonError::into_inner);
            let is_late =
                matches!(polled, Err(wgpu::PollError::Timeout)) && !self.is_stuck.load(Ordering::Acquire);
            if !poller.is_requested.load(Ordering::Acquire) && !is_late {
                *is_running = false;
                return;
            }
        }
    }
}

impl PlanRecorder {
    /// Runs a silent clip on the device, waits for it, and measures each dispatch: by timestamps, or else by a submission
    /// each. After it, steps fit their budget from the first one on.
    ///
    /// # Errors
    /// Those of the device.
    pub fn warm_up(&mut self) -> Result<(), GpuError> {
        let gpu = self.prepared.gpu.clone();
        let limit = gpu.default_timeout(1);
        let submit = |record: &dyn Fn(&mut wgpu::CommandEncoder)| -> Result<(), GpuError> {
            let index = gpu.scoped(|| {
                let mut encoder = gpu.device.create_command_encoder(&Default::default());
                record(&mut encoder);
                gpu.queue.submit([encoder.finish()])
            });
            Ok(gpu.wait(Some(index.map_err(failed)?), limit)?)
        };
        if let Some(slot) = self.program.inputs.first().and_then(|input| input.0) {
            submit(&|encoder| encoder.clear_buffer(&self.prepared.slots[slot], 0, None))?;
        }
        let mut measured = vec![f64::INFINITY; self.program.runs.len()];
        // The first round compiles and allocates.
        for round in 0..3 {
            let seconds: Vec<f64> = if gpu.summary().timestamps {
                let timestamps = Timestamps::new(&gpu, self.program.runs.len())?;
                submit(&|encoder| {
                    self.program.record(encoder, Some(&timestamps));
                    timestamps.resolve(encoder);
                })?;
                let times = gpu.read_buffer(&timestamps.readback, |bytes| timestamps.times(&gpu, bytes))?;
                times.iter().map(Duration::as_secs_f64).collect()
            } else {
                let clock = &self.prepared.options.clock;
                let timed = |record: &dyn Fn(&mut wgpu::CommandEncoder)| -> Result<f64, GpuError> {
                    let start = clock.now();
                    submit(record)?;
                    Ok(clock.now().saturating_sub(start).as_secs_f64())
                };
                let empty = timed(&|_| {})?;
                let runs = self.program.runs.iter().map(|run| {
                    let seconds =
                        timed(&|encoder| run.record(&mut encoder.begin_compute_pass(&Default::default())));
                    Ok((seconds? - empty).max(0.0))
                });
                runs.collect::<Result<_, GpuError>>()?
            };
            if round > 0 {
                measured.iter_mut().zip(seconds).for_each(|(least, seconds)| *least = least.min(seconds));
            }
        }
        self.costs.lock().unwrap_or_else(PoisonError::into_inner).set(&measured);
        Ok(())
    }
}
