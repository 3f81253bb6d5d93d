//! Collects clips of many sources into batches.

use super::super::clips::ClipBatch;
use crate::audio::Clip;

/// Clips of the next batch.
#[derive(Debug)]
pub(super) struct Batcher {
    pending: ClipBatch,
    max_batch: usize,
}

impl Batcher {
    pub(super) fn new(max_batch: usize) -> Batcher {
        Batcher { pending: Vec::new(), max_batch: max_batch.max(1) }
    }

    /// Adds a clip of source `index`; returns the batch once it is full.
    pub(super) fn push(&mut self, index: usize, clip: Clip) -> Option<ClipBatch> {
        self.pending.push((index, clip));
        if self.pending.len() >= self.max_batch { self.flush() } else { None }
    }

    /// The partial batch, if there are clips in it.
    pub(super) fn flush(&mut self) -> Option<ClipBatch> {
        if self.pending.is_empty() { None } else { Some(std::mem::take(&mut self.pending)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_partial_batches() {
        let clip = || Clip { samples: vec![0.0], start_samples: 0, audio_samples: 1 };
        let mut batcher = Batcher::new(2);
        assert!(batcher.flush().is_none() && batcher.push(0, clip()).is_none());
        assert_eq!(batcher.push(1, clip()).unwrap().len(), 2);
        assert!(batcher.push(7, clip()).is_none());
        let partial = batcher.flush().unwrap();
        assert_eq!((partial.len(), partial[0].0), (1, 7));
        assert!(batcher.flush().is_none());
    }
}
