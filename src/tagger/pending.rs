//! Tagging without waiting.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Tagger;
use super::clips::{self, ClipOutput, SubmittedClip, TrackInfo};
use super::results::Track;
use crate::audio::{ClipReader, Source};
use crate::error::{Cause, Error};
use crate::executor::{ExecuteError, PlanOutputs, Submission, blocking};
use crate::plan::Plan;

/// Track whose clips are on the device. Dropping it cancels clips that have not begun.
///
/// It is a [`Future`], and without an async runtime it can be asked ([`Pending::try_take`]) or waited for
/// ([`Pending::wait`]). On a device that the caller opened, completions arrive while the caller polls that device.
#[derive(Debug)]
#[must_use = "a dropped call is cancelled"]
pub struct Pending {
    parts: VecDeque<(Vec<SubmittedClip>, Submission)>,
    done: Vec<ClipOutput>,
    info: TrackInfo,
    plan: Plan,
    device: Arc<str>,
    tap: Option<String>,
    aggregation: crate::tags::Aggregation,
}

impl Pending {
    pub(super) fn new(tagger: &Tagger, source: Source) -> Result<Pending, Error> {
        let engine = &tagger.engines[0];
        let executor = engine.active().executor.clone();
        let request = &tagger.decoding.request;
        let mut reader = ClipReader::open(source, request, &tagger.decoding.resamplers)?;
        let mut read = Vec::new();
        for clip in &mut reader {
            read.push((0, clip?));
        }
        let info = TrackInfo {
            track_s: reader.track_seconds(),
            decoder: reader.decoder_name(),
            warnings: reader.warnings(),
        };
        let mut parts = VecDeque::new();
        while !read.is_empty() {
            let rest = read.split_off(read.len().min(executor.max_batch()));
            let batch = std::mem::replace(&mut read, rest);
            let (clips, inputs) =
                clips::stack(batch, request.rate_hz, request.length_samples).map_err(|(_, error)| error)?;
            parts.push_back((clips, executor.submit(&inputs)?));
        }
        if parts.is_empty() {
            return Err(Cause::NoClips.into());
        }
        Ok(Pending {
            parts,
            done: Vec::new(),
            info,
            plan: engine.plan().clone(),
            device: executor.device().into(),
            tap: tagger.tap.clone(),
            aggregation: tagger.aggregation,
        })
    }

    /// True if [`Pending::try_take`] would return a result without polling the device.
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|(_, submission)| submission.is_ready())
    }

    /// Takes the result if it has arrived, and `None` otherwise. Returns at once.
    ///
    /// # Errors
    /// Those of the device, and samples that overflow the spectrogram. After the result was taken it is an error of kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled).
    pub fn try_take(&mut self) -> Option<Result<Track, Error>> {
        while let Some((_, submission)) = self.parts.front_mut() {
            let outputs = submission.try_take()?;
            if let Err(error) = self.accept(outputs) {
                return Some(Err(error));
            }
        }
        Some(self.finish())
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// As [`Pending::try_take`]; a device that does not answer in time.
    pub fn wait(mut self) -> Result<Track, Error> {
        while let Some((clips, submission)) = self.parts.pop_front() {
            self.accept_part(&clips, blocking::wait(submission))?;
        }
        self.finish()
    }

    /// Records the outputs of the first part. After an error nothing is left to take.
    fn accept(&mut self, outputs: Result<PlanOutputs, ExecuteError>) -> Result<(), Error> {
        let Some((clips, _)) = self.parts.pop_front() else { return Ok(()) };
        self.accept_part(&clips, outputs).inspect_err(|_| {
            self.parts.clear();
            self.done.clear();
        })
    }

    fn accept_part(
        &mut self,
        clips: &[SubmittedClip],
        outputs: Result<PlanOutputs, ExecuteError>,
    ) -> Result<(), Error> {
        let tensors = outputs?.tensors;
        for clip in clips::split(&self.plan, self.tap.as_deref(), clips, &tensors, &self.device) {
            clips::check_finite(&clip)?;
            self.done.push(clip);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Track, Error> {
        let done = std::mem::take(&mut self.done);
        if done.is_empty() {
            return Err(Cause::Cancelled.into());
        }
        let silent = done.iter().filter(|clip| clip.is_silent()).count();
        let clips = done.into_iter().map(|clip| clip.result).collect();
        Ok(clips::assemble(self.info.clone(), clips, silent, self.aggregation))
    }
}

impl Future for Pending {
    type Output = Result<Track, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some((_, submission)) = self.parts.front_mut() {
            let Poll::Ready(outputs) = Pin::new(submission).poll(context) else { return Poll::Pending };
            if let Err(error) = self.accept(outputs) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(self.finish())
    }
}
