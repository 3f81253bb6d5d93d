//! Half of a stream that computes.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rtrb::{Consumer, RingBuffer};

use super::config::StreamConfig;
use super::frames::{FrameCache, SharedFrames};
use super::input::{StreamCounters, StreamInput};
use super::live::LiveAudio;
use crate::audio::{AudioError, ClipPadding};
use crate::error::{Cause, Error};
use crate::executor::Inputs;
use crate::tagger::Tagger;
use crate::tagger::clips::{self, SubmittedClip};
use crate::tagger::engine::{BatchOutputs, Engine, PendingBatch};
use crate::tensor::HostTensor;

/// Frames taken from the ring buffer at a time.
const BLOCK_FRAMES: usize = 4096;
/// Periods of the lower rate around a window from which the resampler's filter reaches into it.
const FILTER_PERIODS: f64 = 80.0;

/// Result of a stream at one hop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamUpdate {
    /// Start of the window in seconds since the last reset.
    pub start_s: f64,
    /// End of the window in seconds since the last reset.
    pub end_s: f64,
    /// Seconds of audio in the window; less than a clip at first.
    pub heard_s: f64,
    /// A score in 0..1 for each label, smoothed if the stream is.
    pub scores: Vec<f32>,
    /// The features before the last dense layer.
    pub embedding: Vec<f32>,
    /// True if the window is silent, or constant.
    pub is_silent: bool,
    /// Number of hops before this one that were skipped since the device was too slow.
    pub skipped: u64,
    /// Number of input frames lost since the stream was made. Times do not count them.
    pub overrun_frames: u64,
    /// Name of the device that computed it.
    pub device: Arc<str>,
}

/// Window on the device.
struct Computing {
    start: u64,
    end: u64,
    heard: u64,
    skipped: u64,
    engine: Arc<Engine>,
    /// Taken when it is complete.
    batch: Option<PendingBatch>,
}

/// Half of a stream that computes, made by [`Tagger::stream`](crate::tagger::Tagger::stream).
pub struct Stream {
    config: StreamConfig,
    ring: Consumer<f32>,
    shared: Arc<StreamCounters>,
    /// Number of frames taken from the ring buffer.
    taken: u64,
    /// The reset that was last carried out.
    reset_done: u64,
    audio: LiveAudio,
    engine: Arc<Engine>,
    /// `None` for a plan without a spectrogram, or for windows shorter than a clip.
    frames: Option<FrameCache>,
    rate_hz: u32,
    clip_samples: usize,
    window_samples: u64,
    hop_samples: u64,
    padding: ClipPadding,
    /// Position of the next update in samples of the model.
    due: u64,
    /// End of the last window.
    last_end: u64,
    computing: Option<Computing>,
    /// End and scores of the last update, for smoothing.
    smoothed: Option<(f64, Vec<f32>)>,
    has_ended: bool,
}

impl Stream {
    pub(crate) fn open(tagger: &Tagger, config: StreamConfig) -> Result<(StreamInput, Stream), Error> {
        config.check()?;
        let (rate_hz, clip_samples) = (tagger.sample_rate_hz(), tagger.clip_samples());
        let in_samples = |seconds: f64| (seconds * f64::from(rate_hz)).round().max(1.0) as u64;
        let window_samples = config.window_s.map_or(clip_samples as u64, in_samples).min(clip_samples as u64);
        let is_whole = window_samples == clip_samples as u64;
        let frames = if is_whole { shared_frames(tagger)?.map(FrameCache::new) } else { None };
        let rates_hz = [config.sample_rate_hz, rate_hz];
        // A window that begins at a frame ends up to a hop of frames before the last sample.
        let keep = clip_samples + clip_samples / 8;
        let audio = LiveAudio::new(rates_hz, config.channels, keep, &tagger.decoding.resamplers)?;
        let (producer, ring) = RingBuffer::new(config.ring_samples());
        let shared = Arc::<StreamCounters>::default();
        let input =
            StreamInput { ring: producer, shared: shared.clone(), channels: config.channels, pushed: 0 };
        let hop_samples = in_samples(config.hop_s);
        let stream = Stream {
            ring,
            shared,
            taken: 0,
            reset_done: 0,
            audio,
            engine: tagger.engines[0].clone(),
            frames,
            rate_hz,
            clip_samples,
            window_samples,
            hop_samples,
            padding: tagger.decoding.request.padding,
            due: hop_samples,
            last_end: 0,
            computing: None,
            smoothed: None,
            has_ended: false,
            config,
        };
        Ok((input, stream))
    }

    /// Takes what was pushed, and returns the next update if there is one. Resamples and computes spectrogram frames in the
    /// call; the network runs on the tagger's device, for which it does not wait. Call it again until it returns `None`.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for a window with samples that are not finite or far too large; the
    /// stream goes on, and later windows are not affected. Errors of the device, after retry and fallback.
    pub fn pump(&mut self) -> Result<Option<StreamUpdate>, Error> {
        self.advance(Engine::try_wait)
    }

    /// As [`Stream::pump`], and waits for the device.
    pub(super) fn pump_blocking(&mut self) -> Result<Option<StreamUpdate>, Error> {
        self.advance(|engine, batch| batch.take().map(|batch| engine.wait(batch)))
    }

    /// True after the last update: the input was dropped and all its samples are taken.
    pub fn has_ended(&self) -> bool {
        self.has_ended && self.computing.is_none()
    }

    /// Counters shared with the input.
    pub(super) fn counters(&self) -> &Arc<StreamCounters> {
        &self.shared
    }

    /// Position of the last reset that was carried out.
    pub(super) fn reset_done(&self) -> u64 {
        self.reset_done
    }

    /// Settings.
    pub(super) fn config(&self) -> &StreamConfig {
        &self.config
    }

    fn advance(
        &mut self,
        wait: impl Fn(&Engine, &mut Option<PendingBatch>) -> Option<Result<BatchOutputs, Error>>,
    ) -> Result<Option<StreamUpdate>, Error> {
        self.take_input()?;
        if self.computing.is_none() {
            self.begin()?;
        }
        let Some(computing) = &mut self.computing else { return Ok(None) };
        let Some(outputs) = wait(&computing.engine, &mut computing.batch) else { return Ok(None) };
        let Some(computing) = self.computing.take() else { return Ok(None) };
        self.update(&computing, outputs?).map(Some)
    }

    /// Moves samples from the ring buffer to the window.
    fn take_input(&mut self) -> Result<(), Error> {
        // In this order: whoever sees a sample also sees the reset before it.
        let mut frames = self.ring.slots() / self.config.channels;
        let is_abandoned = frames == 0 && self.ring.is_abandoned() && self.ring.is_empty();
        let reset_at = self.shared.reset_at.load(Ordering::Acquire);
        if reset_at > self.reset_done {
            self.reset_done = reset_at;
            self.restart()?;
        }
        let stale = reset_at.saturating_sub(self.taken).min(frames as u64) as usize;
        self.take(stale, |_, _| Ok(()))?;
        frames -= stale;
        while frames > 0 && !(self.config.every_hop && self.audio.end() >= self.due) {
            let block = frames.min(BLOCK_FRAMES);
            self.take(block, |audio, (samples, due)| audio.push(samples, due))?;
            frames -= block;
        }
        if is_abandoned && !self.has_ended {
            self.audio.finish()?;
            self.has_ended = true;
        }
        Ok(())
    }

    /// Takes frames from the ring buffer, at most two slices of them.
    fn take(
        &mut self,
        frames: usize,
        mut each: impl FnMut(&mut LiveAudio, (&[f32], u64)) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Ok(chunk) = self.ring.read_chunk(frames * self.config.channels) else { return Ok(()) };
        // The capacity is a whole number of frames, so that no frame is in both.
        let (first, second) = chunk.as_slices();
        let outcome = [first, second].iter().try_for_each(|slice| each(&mut self.audio, (slice, self.due)));
        chunk.commit_all();
        self.taken += frames as u64;
        outcome
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.frames.iter_mut().for_each(FrameCache::reset);
        (self.due, self.last_end) = (self.hop_samples, 0);
        (self.computing, self.smoothed) = (None, None);
        self.audio.reset()
    }

    /// Submits the window that is due.
    fn begin(&mut self) -> Result<(), Error> {
        let available = self.audio.end();
        let (due, skipped) = if available >= self.due {
            let skipped = if self.config.every_hop { 0 } else { (available - self.due) / self.hop_samples };
            (self.due + skipped * self.hop_samples, skipped)
        } else if self.has_ended && self.is_rest_worth_it(available) {
            (available, 0)
        } else {
            return Ok(());
        };
        self.due = due + self.hop_samples;
        let (start, end, heard, engine, input) = self.window(due)?;
        self.last_end = end;
        self.check(start, end)?;
        let batch = Some(engine.submit(Inputs::from(input)));
        self.computing = Some(Computing { start, end, heard, skipped, engine, batch });
        Ok(())
    }

    /// True if the rest of a stream that has ended gets an update: more than half a hop, or all there is.
    fn is_rest_worth_it(&self, available: u64) -> bool {
        let rest = available.saturating_sub(self.last_end);
        rest > self.hop_samples / 2 || (self.last_end == 0 && rest > 0)
    }

    /// Input of the window that ends at `due`, with its start, end, number of samples heard, and engine.
    fn window(&mut self, due: u64) -> Result<(u64, u64, u64, Arc<Engine>, HostTensor), Error> {
        if due >= self.clip_samples as u64
            && let Some(frames) = &mut self.frames
        {
            let start = frames.start(due);
            let input = frames.window(&self.audio, start)?;
            let length = self.clip_samples as u64;
            return Ok((start, start + length, length, frames.shared.engine.clone(), input));
        }
        let heard = due.min(self.window_samples);
        let mut samples = self.audio.slice(due - heard, heard as usize).to_vec();
        self.padding.pad(&mut samples, self.clip_samples);
        let input = HostTensor::new([1, self.clip_samples], samples)?;
        Ok((due - heard, due, heard, self.engine.clone(), input))
    }

    /// Fails if the window from `start` to `end` depends on an invalid sample.
    fn check(&mut self, start: u64, end: u64) -> Result<(), Error> {
        let input_hz = f64::from(self.config.sample_rate_hz);
        let around_s = FILTER_PERIODS / input_hz.min(f64::from(self.rate_hz));
        let [start_s, end_s] = [self.seconds(start) - around_s, self.seconds(end) + around_s];
        // Later windows do not begin earlier.
        while self
            .audio
            .invalid
            .front()
            .is_some_and(|invalid| (invalid.frames[1] as f64) < start_s * input_hz)
        {
            self.audio.invalid.pop_front();
        }
        let Some(invalid) = self.audio.invalid.front() else { return Ok(()) };
        if invalid.frames[0] as f64 >= end_s * input_hz {
            return Ok(());
        }
        Err(if invalid.value.is_finite() {
            Cause::TooLoud.into()
        } else {
            AudioError::NonFinite { index: invalid.frames[0], value: invalid.value }.into()
        })
    }

    fn seconds(&self, samples: u64) -> f64 {
        samples as f64 / f64::from(self.rate_hz)
    }

    fn update(&mut self, computing: &Computing, outputs: BatchOutputs) -> Result<StreamUpdate, Error> {
        let Computing { start, end, heard, skipped, engine, .. } = computing;
        let clip = [SubmittedClip::single(self.seconds(*start))];
        let mut rows = clips::split(engine.plan(), None, &clip, &outputs.tensors, &outputs.device);
        let Some(row) = rows.pop() else { return Err(Cause::NoClips.into()) };
        clips::check_finite(&row)?;
        let is_silent = row.is_silent();
        let scores = self.smooth(self.seconds(*end), row.result.scores);
        Ok(StreamUpdate {
            start_s: self.seconds(*start),
            end_s: self.seconds(*end),
            heard_s: self.seconds(*heard),
            scores,
            embedding: row.result.embedding,
            is_silent,
            skipped: *skipped,
            overrun_frames: self.shared.overrun_frames.load(Ordering::Relaxed),
            device: outputs.device,
        })
    }

    fn smooth(&mut self, end_s: f64, mut scores: Vec<f32>) -> Vec<f32> {
        if self.config.smoothing_s > 0.0 {
            if let Some((before_s, before)) = &self.smoothed {
                let kept = (-(end_s - before_s) / self.config.smoothing_s).exp() as f32;
                scores.iter_mut().zip(before).for_each(|(score, before)| *score += kept * (before - *score));
            }
            self.smoothed = Some((end_s, scores.clone()));
        }
        scores
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("config", &self.config)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// Spectrogram executors of a tagger, made for its first stream.
fn shared_frames(tagger: &Tagger) -> Result<Option<SharedFrames>, Error> {
    let mut made = tagger.stream_frames.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(frames) = &*made {
        return Ok(frames.clone());
    }
    let frames = SharedFrames::new(&tagger.engines[0])?;
    Ok(made.insert(frames).clone())
}
