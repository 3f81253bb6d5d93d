//! Recording of clips into command encoders of a host application.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::clips::{self, SubmittedClip};
use super::results::ClipResult;
use crate::error::{Cause, Error};
use crate::executor::{ExecuteError, PlanOutputs, Submission};
use crate::gpu::{self, Buffer, CommandEncoder, PlanRecorder, RecorderInput, StepProgress};
use crate::models::Model;
use crate::plan::Plan;
use crate::tags::Vocabulary;

/// A model on a device of the caller that records its work into the caller's command encoders: it never submits, polls
/// or waits, except in [`Recorder::warm_up`]. Made by [`TaggerBuilder::build_recorder`](super::TaggerBuilder::build_recorder).
///
/// A clip is recorded whole ([`Recorder::encode`]), or in steps that fit a budget of device time per frame
/// ([`Recorder::begin`], [`Recorder::step`]); encoders are submitted in the order of recording. Its outputs stay on the
/// device ([`Recorder::output`]), or come back ([`Recorder::read`]).
///
/// A lost device is an error of kind [`Device`](crate::ErrorKind::Device) of a [`Reading`]; the caller makes a new recorder
/// on another device, and records the clip again, or drops it.
///
/// ```no_run
/// # use std::time::Duration;
/// # use tagwave::{gpu, tagger::Tagger, wgpu};
/// # fn host(device: wgpu::Device, queue: wgpu::Queue, clip: &[f32]) -> Result<(), tagwave::Error> {
/// let context = gpu::Context::from_device(device.clone(), queue.clone());
/// let mut recorder = Tagger::builder().gpu(context).build_recorder()?;
/// recorder.warm_up()?; // on a loading screen
/// recorder.begin(gpu::RecorderInput::Samples(clip))?;
/// let mut reading = None;
/// loop {
///     // Once per frame:
///     let mut encoder = device.create_command_encoder(&Default::default());
///     if reading.is_none() && recorder.step(&mut encoder, Duration::from_millis(1))?.is_complete {
///         reading = Some(recorder.read(&mut encoder)?);
///     }
///     queue.submit([encoder.finish()]);
///     let _ = device.poll(wgpu::PollType::Poll);
///     if let Some(result) = reading.as_mut().and_then(|reading| reading.try_take()) {
///         println!("{:?}", result?.scores);
///         return Ok(());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Recorder {
    recorder: PlanRecorder,
    model: Model,
    vocabulary: Vocabulary,
    tap: Option<String>,
}

impl Recorder {
    pub(super) fn new(
        gpu: &gpu::Context,
        plan: &Plan,
        model: Model,
        vocabulary: Vocabulary,
        tap: Option<String>,
    ) -> Result<Recorder, Error> {
        Ok(Recorder { recorder: PlanRecorder::new(gpu, plan)?, model, vocabulary, tap })
    }

    /// Runs a silent clip and measures the device time of each dispatch, so that steps fit their budget from the first one
    /// on. Submits and waits: for a loading screen, or a thread of the caller (a recorder is `Send`). Without it, times are
    /// estimated, and corrected as clips are recorded if
    /// the device has timestamps.
    ///
    /// # Errors
    /// Those of the device.
    pub fn warm_up(&mut self) -> Result<(), Error> {
        Ok(self.recorder.warm_up()?)
    }

    /// Records a whole clip.
    ///
    /// # Errors
    /// As [`Recorder::begin`].
    pub fn encode(&mut self, encoder: &mut CommandEncoder, input: RecorderInput<'_>) -> Result<(), Error> {
        self.begin(input)?;
        self.recorder.step(encoder, Duration::MAX)?;
        Ok(())
    }

    /// Begins a clip, without recording anything; an incomplete clip is dropped. Samples of a buffer of the caller are read
    /// by the next step.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for another number of samples than [`Recorder::clip_samples`], or
    /// samples that are NaN or far too large; [`ErrorKind::Resource`](crate::ErrorKind::Resource) without memory.
    pub fn begin(&mut self, input: RecorderInput<'_>) -> Result<(), Error> {
        if let RecorderInput::Samples(samples) = input {
            if samples.len() != self.clip_samples() {
                let (expected, found) = (self.clip_samples(), samples.len());
                return Err(Cause::ClipLength { expected, found }.into());
            }
            if clips::is_too_large(samples) {
                return Err(Cause::TooLoud.into());
            }
        }
        Ok(self.recorder.begin(input)?)
    }

    /// Records the next part of the clip in one compute pass: as many dispatches as fit `budget` of device time, and at
    /// least one. Large dispatches are cut into slices of 250 million operations.
    ///
    /// # Errors
    /// [`ErrorKind::Resource`](crate::ErrorKind::Resource) without memory.
    pub fn step(&mut self, encoder: &mut CommandEncoder, budget: Duration) -> Result<StepProgress, Error> {
        Ok(self.recorder.step(encoder, budget)?)
    }

    /// True while a clip is incomplete.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_recording()
    }

    /// Drops an incomplete clip.
    pub fn abandon(&mut self) {
        self.recorder.abandon();
    }

    /// Records the readback of the last complete clip. The result arrives after the caller submitted the encoder, while
    /// the caller polls the device.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) before a clip is complete,
    /// [`ErrorKind::Resource`](crate::ErrorKind::Resource) without memory.
    pub fn read(&mut self, encoder: &mut CommandEncoder) -> Result<Reading, Error> {
        Ok(Reading {
            submission: self.recorder.read(encoder)?,
            plan: self.recorder.plan().clone(),
            tap: self.tap.clone(),
            device: self.recorder.gpu().summary().name.as_str().into(),
        })
    }

    /// Buffer of an output and its range in bytes, for bindings (usage `STORAGE`) and copies of the caller: `scores`
    /// (`[K]`), `embedding` (`[D]`), or the tap of the builder, such as `mel` (`[M, T]` in dB). Values are f32, channels
    /// last. They are those of the last complete clip.
    pub fn output(&self, name: &str) -> Option<(&Buffer, Range<u64>)> {
        self.recorder.output(name)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The labels, in the order of the scores.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Sample rate of the model, in Hz.
    pub fn sample_rate_hz(&self) -> u32 {
        self.model.architecture().clip().sample_rate
    }

    /// Length of a clip in samples.
    pub fn clip_samples(&self) -> usize {
        self.model.architecture().clip().samples
    }

    /// Bytes of activations, weights and outputs on the device.
    pub fn device_bytes(&self) -> u64 {
        self.recorder.device_bytes()
    }
}

/// Result of a recorded clip that is on its way to the host. A [`Future`], which can also be asked.
#[derive(Debug)]
#[must_use = "a dropped reading is cancelled"]
pub struct Reading {
    submission: Submission,
    plan: Plan,
    tap: Option<String>,
    device: Arc<str>,
}

impl Reading {
    /// The result if it has arrived.
    ///
    /// # Errors
    /// A clip whose spectrogram overflows; [`ErrorKind::Device`](crate::ErrorKind::Device) if the device was lost or the
    /// encoder was dropped.
    pub fn try_take(&mut self) -> Option<Result<ClipResult, Error>> {
        let outputs = self.submission.try_take()?;
        Some(self.result(outputs))
    }

    fn result(&self, outputs: Result<PlanOutputs, ExecuteError>) -> Result<ClipResult, Error> {
        let clip = [SubmittedClip::single(0.0)];
        let mut rows = clips::split(&self.plan, self.tap.as_deref(), &clip, &outputs?.tensors, &self.device);
        let Some(row) = rows.pop() else { return Err(Cause::NoClips.into()) };
        clips::check_finite(&row)?;
        Ok(row.result)
    }
}

impl Future for Reading {
    type Output = Result<ClipResult, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.submission).poll(context) {
            Poll::Ready(outputs) => Poll::Ready(self.result(outputs)),
            Poll::Pending => Poll::Pending,
        }
    }
}
