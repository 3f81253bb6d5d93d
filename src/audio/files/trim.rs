//! Trimming of a track: encoder delay at the start, padding at the end.

use super::packets::TrackFacts;
use crate::audio::request::DecoderMode;
use crate::audio::spacing::Spacing;

/// Number of samples that the original's MP3 decoder dropped at the start and appended as zeros at the end.
const ORIGINAL_DELAY: usize = 529;

/// Numbers of samples that are dropped and appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrimLengths {
    delay: usize,
    padding: usize,
    /// Zeros appended at the end.
    zeros: usize,
}

impl TrimLengths {
    pub(super) fn of(facts: &TrackFacts, mode: DecoderMode) -> TrimLengths {
        let (delay, padding, zeros) = match mode {
            DecoderMode::Original if facts.is_mp3 => (ORIGINAL_DELAY, 0, ORIGINAL_DELAY),
            DecoderMode::Plain | DecoderMode::FullBand if facts.is_bare_mpeg => {
                (facts.delay.unwrap_or(0) as usize, facts.padding.unwrap_or(0) as usize, 0)
            }
            _ => (0, 0, 0),
        };
        TrimLengths { delay, padding, zeros }
    }

    /// Length of a track of `samples` samples after trimming.
    pub(super) fn trimmed(self, samples: u64) -> u64 {
        samples.saturating_sub((self.delay + self.padding) as u64) + self.zeros as u64
    }
}

/// Trims the blocks of a track, of which the samples of a [`Spacing`] are computed.
pub(super) struct Trimmer {
    lengths: TrimLengths,
    spacing: Spacing,
    /// Number of samples still to be dropped at the start.
    skip: usize,
    /// The computed ones of the last samples, held back: at the end of the track they are padding.
    held: Vec<f32>,
    /// Position of the first of the held samples, or of the next, and number of held samples.
    held_start: u64,
    held_span: usize,
}

impl Trimmer {
    pub(super) fn new(lengths: TrimLengths) -> Trimmer {
        let (spacing, held) = (Spacing::ALL, Vec::new());
        Trimmer { lengths, spacing, skip: lengths.delay, held, held_start: 0, held_span: 0 }
    }

    pub(super) fn lengths(&self) -> TrimLengths {
        self.lengths
    }

    /// The computed samples, as positions after trimming.
    pub(super) fn spacing(&self) -> Spacing {
        self.spacing
    }

    /// Announces that only the even samples of each block are computed.
    pub(super) fn set_half_rate(&mut self) {
        self.spacing = Spacing::halves(self.lengths.delay as u64);
    }

    /// Number of samples still to be dropped at the start.
    pub(super) fn skip(&self) -> u64 {
        self.skip as u64
    }

    /// Continues with `block`, whose `span` samples begin at `position` of the untrimmed track. Drops those that belong
    /// to the encoder delay; returns the number of the others and the position of the first one after trimming.
    pub(super) fn resume(&mut self, position: u64, block: &mut Vec<f32>, span: usize) -> (usize, u64) {
        let delay = std::mem::take(&mut self.skip) as u64;
        let surplus = delay.saturating_sub(position);
        self.drop_first(block, surplus);
        self.held_start = position + surplus - delay;
        (span - surplus as usize, self.held_start)
    }

    /// Replaces the `span` samples of a block by those that come next after trimming, and returns their number.
    pub(super) fn trim(&mut self, block: &mut Vec<f32>, span: usize) -> usize {
        let skipped = self.skip.min(span);
        self.skip -= skipped;
        self.drop_first(block, skipped as u64);
        let mut span = span - skipped;
        if self.lengths.padding > 0 {
            self.held.extend_from_slice(block);
            self.held_span += span;
            span = self.held_span.saturating_sub(self.lengths.padding);
            self.held_span -= span;
            let index = |position: u64| self.spacing.index(position as i64);
            let settled = index(self.held_start + span as u64) - index(self.held_start);
            let settled = self.held.len().min(settled as usize);
            block.clear();
            block.extend(self.held.drain(..settled));
        }
        self.held_start += span as u64;
        span
    }

    /// Fills `block` with the zeros that end the track, at the first call.
    pub(super) fn end(&mut self, block: &mut Vec<f32>) {
        block.resize(std::mem::take(&mut self.lengths.zeros), 0.0);
    }

    /// Drops the computed ones of the first `count` samples of a block, which begins with a computed one.
    fn drop_first(&self, block: &mut Vec<f32>, count: u64) {
        block.drain(..block.len().min(count.div_ceil(self.spacing.step()) as usize));
    }
}
