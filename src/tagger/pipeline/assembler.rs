//! Collects results of clips into tracks, and delivers them in the order of their sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::clips::{ClipOutput, TrackInfo, assemble, check_finite};
use super::super::results::{ClipResult, Track};
use crate::error::{Cause, Error};
use crate::tags::Aggregation;

/// State of a source that is being processed.
#[derive(Debug, Default)]
struct FileState {
    clips: Vec<ClipResult>,
    /// Number of clips that were read and have no result yet.
    waiting: usize,
    silent: usize,
    info: Option<Result<TrackInfo, Error>>,
    failure: Option<Error>,
}

impl FileState {
    fn is_done(&self) -> bool {
        self.info.is_some() && self.waiting == 0
    }

    fn track(self, aggregation: Aggregation) -> Result<Track, Error> {
        let info = self.info.unwrap_or(Err(Cause::Cancelled.into()))?;
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(assemble(info, self.clips, self.silent, aggregation)),
        }
    }
}

/// All sources that were read and not delivered.
#[derive(Debug)]
pub(super) struct Assembler {
    aggregation: Aggregation,
    files: BTreeMap<usize, FileState>,
    /// Number of sources that were read to their end.
    ended: usize,
    /// Index of the next source to deliver.
    next: usize,
}

impl Assembler {
    pub(super) fn new(aggregation: Aggregation) -> Assembler {
        Assembler { aggregation, files: BTreeMap::new(), ended: 0, next: 0 }
    }

    /// Number of sources that were read to their end.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Number of sources that were delivered.
    pub(super) fn delivered(&self) -> usize {
        self.next
    }

    /// Records a clip of source `index` whose result will come.
    pub(super) fn expect(&mut self, index: usize) {
        self.files.entry(index).or_default().waiting += 1;
    }

    /// Records the end of a source, or its error.
    pub(super) fn end(&mut self, index: usize, info: Result<TrackInfo, Error>) {
        self.ended += 1;
        self.files.entry(index).or_default().info = Some(info);
    }

    /// Records the result of a clip.
    pub(super) fn accept(&mut self, clip: ClipOutput) {
        let Some(file) = self.files.get_mut(&clip.index) else { return };
        file.waiting -= 1;
        file.silent += usize::from(clip.is_silent());
        match check_finite(&clip) {
            Ok(()) => file.clips.push(clip.result),
            Err(error) => file.failure = Some(error),
        }
    }

    /// Records the error of a batch with one clip of each of these sources.
    pub(super) fn fail(&mut self, indices: &[usize], error: &Arc<Error>) {
        for index in indices {
            let Some(file) = self.files.get_mut(index) else { continue };
            file.waiting -= 1;
            file.failure = Some(Cause::Batch(error.clone()).into());
        }
    }

    /// True if the oldest source was read and only waits for results.
    pub(super) fn oldest_waits_for_results(&self) -> bool {
        self.files.get(&self.next).is_some_and(|file| file.info.is_some() && file.waiting > 0)
    }

    /// The next source in order, if it is finished.
    pub(super) fn next_done(&mut self) -> Option<(usize, Result<Track, Error>)> {
        if !self.files.get(&self.next)?.is_done() {
            return None;
        }
        let file = self.files.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, file.track(self.aggregation)))
    }

    /// All finished sources, also after an unfinished one, without cancelled ones.
    pub(super) fn take_done(&mut self) -> Vec<(usize, Result<Track, Error>)> {
        let is_cancelled = |file: &FileState| matches!(&file.info, Some(Err(error)) if matches!(error.cause(), Cause::Cancelled));
        let files = std::mem::take(&mut self.files).into_iter();
        let done = files.filter(|(_, file)| file.is_done() && !is_cancelled(file));
        done.map(|(index, file)| (index, file.track(self.aggregation))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> Result<TrackInfo, Error> {
        Ok(TrackInfo { track_s: None, decoder: "none", warnings: Vec::new() })
    }

    fn output(index: usize, start_s: f64, score: f32) -> ClipOutput {
        let result = ClipResult {
            start_s,
            scores: vec![score],
            embedding: Vec::new(),
            tap: Vec::new(),
            device: "test".into(),
        };
        ClipOutput { index, result, stats: vec![0.0, 0.0, 1.0] }
    }

    #[test]
    fn tracks_are_delivered_in_order_with_their_clips_in_order() {
        let mut assembler = Assembler::new(Aggregation::Mean);
        for index in [1, 0, 0] {
            assembler.expect(index);
        }
        assembler.accept(output(1, 0.0, 0.5));
        assembler.end(1, info());
        assert!(assembler.next_done().is_none());
        assembler.accept(output(0, 29.0, 0.4));
        assembler.end(0, info());
        assert!(assembler.oldest_waits_for_results() && assembler.next_done().is_none());
        assembler.accept(output(0, 0.0, 0.2));
        let (index, track) = assembler.next_done().unwrap();
        let track = track.unwrap();
        assert_eq!((index, track.clips.len(), track.clips[0].start_s), (0, 2, 0.0));
        assert!((track.scores[0] - 0.3).abs() < 1e-6);
        assert_eq!(assembler.next_done().unwrap().0, 1);
        assert_eq!((assembler.ended(), assembler.delivered()), (2, 2));
    }

    #[test]
    fn a_failed_batch_fails_its_sources_only() {
        let mut assembler = Assembler::new(Aggregation::Mean);
        for index in [0, 1, 2] {
            assembler.expect(index);
            assembler.end(index, info());
        }
        assembler.fail(&[0, 2], &Arc::new(Cause::TooLoud.into()));
        assembler.accept(output(1, 0.0, 0.5));
        let results: Vec<_> = std::iter::from_fn(|| assembler.next_done()).collect();
        assert_eq!(
            results.iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(),
            [false, true, false]
        );
    }

    #[test]
    fn after_a_cancellation_finished_sources_are_kept() {
        let mut assembler = Assembler::new(Aggregation::Mean);
        assembler.expect(0);
        assembler.end(1, info());
        assembler.end(2, Err(Cause::Cancelled.into()));
        let done: Vec<usize> = assembler.take_done().into_iter().map(|(index, _)| index).collect();
        assert_eq!(done, [1]);
    }
}
