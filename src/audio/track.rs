//! One pass over a track: what is decoded goes through the resampler.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clips::ClipRequest;
use super::decode::{Decoder, Lost, check_rate, count_frames};
use super::error::AudioError;
use super::foreign::Decoded;
use super::level::MixPower;
use super::pulse::Pulse;
use super::resample::{Resamplers, output_lens};
use super::source::Kind;
use super::stream::Resampling;

/// Samples in memory that are handed on at a time.
const BLOCK: usize = 8192;
/// Outputs that are computed at a time.
const STRIP: u64 = 4096;
/// Outputs that room is made for before any is there.
const MOST_RESERVED: usize = 1 << 20;

pub(super) struct Track {
    input: Input,
    rate_hz: u32,
    to_hz: u32,
    resampling: Resampling,
    block: Vec<f32>,
    ended: bool,
    pulse: Pulse,
    /// Time that resampling took.
    resample_time: Duration,
    /// Input samples that were passed over.
    passed: u64,
    /// Input from which on the power is summed.
    from_input: u64,
    power: MixPower,
    /// The clip is read: what follows is counted only.
    is_done: bool,
}

enum Input {
    Decoder(Box<Decoder>),
    Samples {
        samples: Arc<[f32]>,
        at: usize,
    },
    /// Little-endian f32 in a file, so many of them.
    Decoded {
        file: BufReader<File>,
        frames: u64,
        power: MixPower,
    },
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
            Kind::Decoded(Decoded { frames, rate_hz, power, .. }) => {
                let file = BufReader::with_capacity(BLOCK * size_of::<f32>(), source.open()?);
                Ok((Input::Decoded { file, frames: *frames, power: *power }, *rate_hz))
            }
            Kind::Path(_) | Kind::Reader(_) | Kind::Spooled(_) | Kind::Missing(_) => {
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
            Input::Decoded { file, .. } => {
                let mut bytes = Vec::new();
                let block = (BLOCK * size_of::<f32>()) as u64;
                file.by_ref().take(block).read_to_end(&mut bytes).map_err(AudioError::Spool)?;
                out.clear();
                out.extend(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
                Ok(!out.is_empty())
            }
        }
    }

    /// Passes over what lies before input `wanted`; as [`Decoder::pass_over`].
    fn pass_over(&mut self, wanted: u64) -> Result<Option<u64>, Lost> {
        match self {
            Input::Decoder(decoder) => decoder.pass_over(wanted),
            Input::Samples { samples, at } => {
                *at = wanted.min(samples.len() as u64) as usize;
                Ok(Some(*at as u64))
            }
            Input::Decoded { file, frames, .. } => {
                let place = wanted.min(*frames);
                file.seek(SeekFrom::Start(place * size_of::<f32>() as u64)).map_err(|_| Lost)?;
                Ok(Some(place))
            }
        }
    }
}

impl Track {
    pub(super) fn open(
        source: &Kind,
        request: &ClipRequest,
        resamplers: &Resamplers,
        pulse: &Pulse,
    ) -> Result<Track, AudioError> {
        let (input, rate_hz) = Input::open(source, request)?;
        let to_hz = request.rate_hz;
        let resampling = Resampling::new(rate_hz, to_hz, resamplers)?;
        let (block, pulse, resample_time) = (Vec::new(), pulse.clone(), Duration::ZERO);
        Ok(Track {
            input,
            rate_hz,
            to_hz,
            resampling,
            block,
            ended: false,
            pulse,
            resample_time,
            passed: 0,
            from_input: 0,
            power: MixPower::default(),
            is_done: false,
        })
    }

    /// The length at the track's own rate, found without using its samples; the track must be, and is again, at its
    /// start. `None` where there is nothing to find: samples from memory.
    pub(super) fn count(&mut self, source: &Kind) -> Result<Option<u64>, AudioError> {
        let Input::Decoder(decoder) = &mut self.input else { return Ok(None) };
        count_frames(source.open()?, decoder, &self.pulse).map(Some)
    }

    /// Reads facts about the whole file; the track must be, and is again, at its start.
    pub(super) fn survey(
        &mut self,
        source: &Kind,
        request: &ClipRequest,
        resamplers: &Resamplers,
    ) -> Result<(), AudioError> {
        let Input::Decoder(decoder) = &mut self.input else { return Ok(()) };
        decoder.survey(source.open()?, &self.pulse)?;
        if let Some(rate_hz) = decoder.surveyed().rate_hz {
            // Begun anew, with the first frames at the rate of the others.
            self.rate_hz = rate_hz;
            self.resampling = Resampling::new(rate_hz, self.to_hz, resamplers)?;
            self.restart(source, request)?;
        }
        Ok(())
    }

    /// Power before and after mixing, over the clips that were read.
    pub(super) fn power(&self) -> MixPower {
        match &self.input {
            Input::Decoded { power, .. } => *power,
            _ => self.power,
        }
    }

    /// Goes back to the track's start.
    pub(super) fn restart(&mut self, source: &Kind, request: &ClipRequest) -> Result<(), AudioError> {
        let (mut input, mut rate_hz) = Input::open(source, request)?;
        if let (Input::Decoder(new), Input::Decoder(old)) = (&mut input, &self.input) {
            new.restart_as(old)?;
            rate_hz = new.rate_hz();
        }
        if rate_hz != self.rate_hz {
            return Err(AudioError::Damaged { reason: "it changed while it was read".into() });
        }
        self.input = input;
        self.resampling = self.resampling.restarted()?;
        self.ended = false;
        self.passed = 0;
        (self.power, self.is_done) = (MixPower::default(), false);
        Ok(())
    }

    /// The decoder, unless the samples come from memory.
    pub(super) fn decoder(&self) -> Option<&Decoder> {
        match &self.input {
            Input::Decoder(decoder) => Some(decoder),
            Input::Samples { .. } | Input::Decoded { .. } => None,
        }
    }

    /// Length at the track's own rate when it is known without decoding for certain, or stated.
    pub(super) fn stated_frames(&self) -> Option<u64> {
        match &self.input {
            Input::Decoder(decoder) => decoder.stated_frames(),
            Input::Samples { samples, .. } => Some(samples.len() as u64),
            Input::Decoded { frames, .. } => Some(*frames),
        }
    }

    /// What decodes.
    pub(super) fn decoder_name(&self) -> &'static str {
        match &self.input {
            Input::Decoder(decoder) => decoder.name(),
            Input::Samples { .. } => "none",
            Input::Decoded { .. } => "ffmpeg",
        }
    }

    /// Time that resampling took so far.
    pub(super) fn resample_time(&self) -> Duration {
        self.resample_time
    }

    /// Samples at the track's own rate that were passed over, and not decoded.
    pub(super) fn passed(&self) -> u64 {
        self.passed
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

    /// Passes over what output `start` does not need, where that is possible; nothing may have been read yet.
    ///
    /// # Errors
    /// [`Lost`] when the track must be begun anew, and decoded through.
    pub(super) fn pass_over(&mut self, start: u64) -> Result<(), Lost> {
        let Some(wanted) = self.resampling.first_input(start).filter(|&wanted| wanted > 0) else {
            return Ok(());
        };
        match self.input.pass_over(wanted)? {
            Some(at) if self.resampling.jump_to(at) => {
                self.passed = at;
                Ok(())
            }
            Some(_) => Err(Lost),
            None => Ok(()),
        }
    }

    /// At most `length` outputs from output `start` on; fewer at the track's end.
    pub(super) fn read_from(&mut self, start: u64, length: usize) -> Result<Vec<f32>, AudioError> {
        self.resampling.skip_to(start);
        self.from_input = self.resampling.first_input(start).unwrap_or(0);
        let mut samples = Vec::with_capacity(length.min(MOST_RESERVED));
        self.read(&mut samples, length)?;
        Ok(samples)
    }

    /// Appends the next outputs until `y` holds `wanted` samples or the track ends.
    pub(super) fn read(&mut self, y: &mut Vec<f32>, wanted: usize) -> Result<(), AudioError> {
        loop {
            // Many outputs at a time, because then many share each row of the filter.
            let missing = wanted.saturating_sub(y.len()) as u64;
            if self.ended || self.resampling.computable() >= missing.min(STRIP) {
                let start = Instant::now();
                self.resampling.pull(y, wanted)?;
                self.resample_time += start.elapsed();
            }
            if y.len() >= wanted || self.ended {
                return Ok(());
            }
            self.feed()?;
        }
    }

    /// Reads on to the end without making outputs, and returns the track's true length.
    pub(super) fn read_to_end(&mut self) -> Result<u64, AudioError> {
        self.is_done = true;
        while !self.ended {
            // Inputs before the next output are not kept.
            let here = self.resampling.received().saturating_mul(self.to_hz.into()) / u64::from(self.rate_hz);
            self.resampling.skip_to(here);
            self.feed()?;
        }
        Ok(self.resampling.received())
    }

    fn feed(&mut self) -> Result<(), AudioError> {
        self.pulse.go_on()?;
        if self.input.next_block(&mut self.block)? {
            if let Input::Decoder(decoder) = &self.input
                && self.resampling.received() + self.block.len() as u64 > self.from_input
                && !self.is_done
            {
                self.power.add(decoder.power());
            }
            self.resampling.push(&self.block)
        } else {
            self.ended = true;
            self.resampling.finish()
        }
    }
}
