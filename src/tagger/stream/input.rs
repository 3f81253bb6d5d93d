//! Half of a stream that belongs to the audio thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::Producer;

/// Counters that both halves of a stream share.
#[derive(Debug, Default)]
pub(super) struct StreamCounters {
    /// Number of frames pushed before the last reset.
    pub(super) reset_at: AtomicU64,
    /// Number of frames that did not fit the buffer.
    pub(super) overrun_frames: AtomicU64,
}

/// Input of a stream, for the audio thread: its methods are wait-free and allocate nothing. Dropping it ends the stream.
///
/// A frame is one sample of each channel. Samples are nominally in -1..1.
#[derive(Debug)]
pub struct StreamInput {
    pub(super) ring: Producer<f32>,
    pub(super) shared: Arc<StreamCounters>,
    pub(super) channels: usize,
    /// Number of frames pushed so far.
    pub(super) pushed: u64,
}

impl StreamInput {
    /// Appends interleaved samples and returns the number of frames taken. The others did not fit the buffer and are
    /// counted as overrun. An incomplete frame at the end is not taken.
    pub fn push_interleaved(&mut self, samples: &[f32]) -> usize {
        self.push(samples.len() / self.channels, samples.iter().copied())
    }

    /// As [`StreamInput::push_interleaved`], for 16-bit integers.
    pub fn push_interleaved_i16(&mut self, samples: &[i16]) -> usize {
        let floats = samples.iter().map(|&sample| f32::from(sample) / 32_768.0);
        self.push(samples.len() / self.channels, floats)
    }

    /// As [`StreamInput::push_interleaved`], for one slice per channel. Takes nothing if their number is not that of the
    /// stream; the shortest slice counts.
    pub fn push_planar(&mut self, channels: &[&[f32]]) -> usize {
        if channels.len() != self.channels {
            return 0;
        }
        let frames = channels.iter().map(|channel| channel.len()).min().unwrap_or(0);
        let samples = (0..frames).flat_map(|frame| channels.iter().map(move |channel| channel[frame]));
        self.push(frames, samples)
    }

    /// Discards what was heard so far, after a seek or a change of track: updates then begin at 0 s again.
    pub fn reset(&mut self) {
        self.shared.reset_at.store(self.pushed, Ordering::Release);
    }

    /// Number of frames that can be pushed now.
    pub fn free_frames(&self) -> usize {
        self.ring.slots() / self.channels
    }

    /// True if the stream was dropped: nobody takes what is pushed.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Number of frames that did not fit the buffer since the stream was made.
    pub fn overrun_frames(&self) -> u64 {
        self.shared.overrun_frames.load(Ordering::Relaxed)
    }

    fn push(&mut self, frames: usize, samples: impl Iterator<Item = f32>) -> usize {
        let taken = frames.min(self.free_frames());
        let count = taken * self.channels;
        if let Ok(chunk) = self.ring.write_chunk_uninit(count) {
            chunk.fill_from_iter(samples.take(count));
        }
        self.pushed += taken as u64;
        if taken < frames {
            self.shared.overrun_frames.fetch_add((frames - taken) as u64, Ordering::Relaxed);
        }
        taken
    }
}
