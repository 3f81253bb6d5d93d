//! One pass over a track: what is decoded goes through the resampler.

use std::sync::Arc;

use super::clips::ClipRequest;
use super::decode::{Decoder, check_rate};
use super::error::AudioError;
use super::resample::{Resamplers, output_lens};
use super::source::Kind;
use super::stream::Resampling;

/// Samples in memory that are handed on at a time.
const BLOCK: usize = 8192;

pub(super) struct Track {
    input: Input,
    rate_hz: u32,
    to_hz: u32,
    resampling: Resampling,
    block: Vec<f32>,
    ended: bool,
}

enum Input {
    Decoder(Box<Decoder>),
    Samples { samples: Arc<[f32]>, at: usize },
}

impl Input {
    /// The input from its start, and its rate in Hz.
    fn open(source: &Kind, request: &ClipRequest) -> Result<(Input, u32), AudioError> {
        match source {
            Kind::Samples { samples, .. } if samples.is_empty() => Err(AudioError::Empty),
            Kind::Samples { samples, rate_hz } => {
                check_rate(*rate_hz)?;
                Ok((Input::Samples { samples: samples.clone(), at: 0 }, *rate_hz))
            }
            Kind::Path(_) | Kind::Reader(_) | Kind::Spooled(_) => {
                let decoder = Decoder::open(source.open()?, request.decoder)?;
                let rate_hz = decoder.rate_hz();
                Ok((Input::Decoder(Box::new(decoder)), rate_hz))
            }
        }
    }

    /// Replaces `out` by the next samples; `false` when there are none left.
    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        match self {
            Input::Decoder(decoder) => decoder.next_block(out),
            Input::Samples { samples, at } => {
                out.clear();
                out.extend(samples[*at..].iter().take(BLOCK));
                *at += out.len();
                Ok(!out.is_empty())
            }
        }
    }
}

impl Track {
    pub(super) fn open(
        source: &Kind,
        request: &ClipRequest,
        resamplers: &Resamplers,
    ) -> Result<Track, AudioError> {
        let (input, rate_hz) = Input::open(source, request)?;
        let to_hz = request.rate_hz;
        let resampling = Resampling::new(rate_hz, to_hz, resamplers)?;
        Ok(Track { input, rate_hz, to_hz, resampling, block: Vec::new(), ended: false })
    }

    /// Goes back to the track's start.
    pub(super) fn restart(&mut self, source: &Kind, request: &ClipRequest) -> Result<(), AudioError> {
        let (input, rate_hz) = Input::open(source, request)?;
        if rate_hz != self.rate_hz {
            return Err(AudioError::Damaged { reason: "it changed while it was read".into() });
        }
        *self = Track {
            input,
            resampling: self.resampling.restarted()?,
            ended: false,
            block: Vec::new(),
            ..*self
        };
        Ok(())
    }

    /// The decoder, unless the samples come from memory.
    pub(super) fn decoder(&self) -> Option<&Decoder> {
        match &self.input {
            Input::Decoder(decoder) => Some(decoder),
            Input::Samples { .. } => None,
        }
    }

    /// Length at the track's own rate when it is known without decoding for certain, or stated.
    pub(super) fn stated_frames(&self) -> Option<u64> {
        match &self.input {
            Input::Decoder(decoder) => decoder.stated_frames(),
            Input::Samples { samples, .. } => Some(samples.len() as u64),
        }
    }

    /// Sample rate before resampling, in Hz.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    pub(super) fn is_fallback(&self) -> bool {
        self.resampling.is_fallback()
    }

    /// Whether the last input sample has been read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Input samples read so far.
    pub(super) fn frames_read(&self) -> u64 {
        self.resampling.received()
    }

    /// Number of outputs that `frames` inputs make.
    pub(super) fn outputs(&self, frames: u64) -> u64 {
        output_lens(frames, self.rate_hz, self.to_hz).1
    }

    /// At most `length` outputs from output `start` on; fewer at the track's end.
    pub(super) fn read_from(&mut self, start: u64, length: usize) -> Result<Vec<f32>, AudioError> {
        // The place for a seek: to the packet that holds the first input of output `start`, less what the
        // codec needs to settle. Until then everything before is decoded and dropped.
        self.resampling.skip_to(start);
        let mut samples = Vec::new();
        self.read(&mut samples, length)?;
        Ok(samples)
    }

    /// Appends the next outputs until `y` holds `wanted` samples or the track ends.
    pub(super) fn read(&mut self, y: &mut Vec<f32>, wanted: usize) -> Result<(), AudioError> {
        loop {
            self.resampling.pull(y, wanted)?;
            if y.len() >= wanted || self.ended {
                return Ok(());
            }
            self.feed()?;
        }
    }

    /// Reads on to the end without making outputs, and returns the track's true length.
    pub(super) fn read_to_end(&mut self) -> Result<u64, AudioError> {
        while !self.ended {
            // Inputs before the next output are not kept.
            let here = self.resampling.received().saturating_mul(self.to_hz.into()) / u64::from(self.rate_hz);
            self.resampling.skip_to(here);
            self.feed()?;
        }
        Ok(self.resampling.received())
    }

    fn feed(&mut self) -> Result<(), AudioError> {
        if self.input.next_block(&mut self.block)? {
            self.resampling.push(&self.block)
        } else {
            self.ended = true;
            self.resampling.finish()
        }
    }
}
