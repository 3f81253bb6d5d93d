//! One pass over a track: decoder and resampler joined.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use super::decoded::DecodedTrack;
use super::error::{AudioError, PositionLost};
use super::files::{Decoder, count_frames};
use super::heartbeat::Heartbeat;
use super::level::MixPower;
use super::polyphase::{Resamplers, output_lens};
use super::request::{ClipRequest, check_rate};
use super::resample::Resampling;
use super::source::SourceKind;
use super::spacing::Spacing;
use crate::instant::Instant;

/// Samples per block of sources that are not decoded here.
const BLOCK: usize = 8192;
/// Samples resampled at a time.
const STRIP: u64 = 4096;
/// Maximum capacity reserved for samples in advance.
const MOST_RESERVED: usize = 1 << 20;

/// Reads a track and resamples it.
pub(super) struct TrackReader {
    input: Input,
    rate_hz: u32,
    to_hz: u32,
    resampling: Resampling,
    block: Vec<f32>,
    ended: bool,
    heartbeat: Heartbeat,
    /// Time spent on resampling.
    resample_time: Duration,
    /// Number of input samples that were skipped.
    skipped: u64,
    /// First input sample that counts for the power.
    from_input: u64,
    power: MixPower,
    /// True once the clip is read: later samples are only counted.
    is_done: bool,
}

enum Input {
    Decoder(Box<Decoder>),
    Samples {
        samples: Arc<[f32]>,
        at: usize,
    },
    /// A file of `frames` little-endian f32 samples.
    Decoded {
        file: BufReader<File>,
        frames: u64,
        power: MixPower,
    },
}

impl Input {
    /// Opens the input at its start and returns its sample rate in Hz.
    fn open(source: &SourceKind, request: &ClipRequest) -> Result<(Input, u32), AudioError> {
        match source {
            SourceKind::Samples { samples, .. } if samples.is_empty() => Err(AudioError::Empty),
            SourceKind::Samples { samples, rate_hz } => {
                check_rate(*rate_hz)?;
                Ok((Input::Samples { samples: samples.clone(), at: 0 }, *rate_hz))
            }
            SourceKind::Decoded(decoded) => {
                let opened = decoded.open().map_err(AudioError::Spool)?;
                let file = BufReader::with_capacity(BLOCK * size_of::<f32>(), opened);
                let &DecodedTrack { frames, rate_hz, power, .. } = decoded;
                Ok((Input::Decoded { file, frames, power }, rate_hz))
            }
            SourceKind::Path(_)
            | SourceKind::Reader(_)
            | SourceKind::Spooled(_)
            | SourceKind::Memory(_)
            | SourceKind::Missing(_)
            | SourceKind::Channels(_) => {
                let decoder = Decoder::open(source.open()?, request.decoder, request.rate_hz)?;
                let rate_hz = decoder.rate_hz();
                Ok((Input::Decoder(Box::new(decoder)), rate_hz))
            }
        }
    }

    /// The samples that are computed.
    fn spacing(&self) -> Spacing {
        match self {
            Input::Decoder(decoder) => decoder.spacing(),
            Input::Samples { .. } | Input::Decoded { .. } => Spacing::ALL,
        }
    }

    /// Replaces `out` by the next samples and returns their number, including those that are not computed; `None` at
    /// the end.
    fn next_block(&mut self, out: &mut Vec<f32>) -> Result<Option<u64>, AudioError> {
        let is_more = match self {
            Input::Decoder(decoder) => decoder.next_block(out)?,
            Input::Samples { samples, at } => {
                out.clear();
                out.extend(samples[*at..].iter().take(BLOCK));
                *at += out.len();
                !out.is_empty()
            }
            Input::Decoded { file, .. } => {
                let mut bytes = Vec::new();
                let block = (BLOCK * size_of::<f32>()) as u64;
                file.by_ref().take(block).read_to_end(&mut bytes).map_err(AudioError::Spool)?;
                out.clear();
                out.extend(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
                !out.is_empty()
            }
        };
        let span = match self {
            Input::Decoder(decoder) => decoder.span(),
            Input::Samples { .. } | Input::Decoded { .. } => out.len() as u64,
        };
        Ok(is_more.then_some(span))
    }

    /// Skips to sample `wanted` or shortly before it, as [`Decoder::skip_to`].
    fn skip_to(&mut self, wanted: u64) -> Result<Option<u64>, PositionLost> {
        match self {
            Input::Decoder(decoder) => decoder.skip_to(wanted),
            Input::Samples { samples, at } => {
                *at = wanted.min(samples.len() as u64) as usize;
                Ok(Some(*at as u64))
            }
            Input::Decoded { file, frames, .. } => {
                let place = wanted.min(*frames);
                file.seek(SeekFrom::Start(place * size_of::<f32>() as u64)).map_err(|_| PositionLost)?;
                Ok(Some(place))
            }
        }
    }
}

impl TrackReader {
    pub(super) fn open(
        source: &SourceKind,
        request: &ClipRequest,
        resamplers: &Resamplers,
        heartbeat: &Heartbeat,
    ) -> Result<TrackReader, AudioError> {
        let (input, rate_hz) = Input::open(source, request)?;
        let to_hz = request.rate_hz;
        let resampling = Resampling::new(rate_hz, to_hz, input.spacing(), resamplers)?;
        let (block, heartbeat, resample_time) = (Vec::new(), heartbeat.clone(), Duration::ZERO);
        Ok(TrackReader {
            input,
            rate_hz,
            to_hz,
            resampling,
            block,
            ended: false,
            heartbeat,
            resample_time,
            skipped: 0,
            from_input: 0,
            power: MixPower::default(),
            is_done: false,
        })
    }

    /// Counts the samples of the track at its own rate. The track must be at its start and stays there. `None` for
    /// samples from memory.
    pub(super) fn count(&mut self, source: &SourceKind) -> Result<Option<u64>, AudioError> {
        let Input::Decoder(decoder) = &mut self.input else { return Ok(None) };
        count_frames(source.open()?, decoder, &self.heartbeat).map(Some)
    }

    /// Scans the whole file. The track must be at its start and is there again afterwards.
    pub(super) fn scan(
        &mut self,
        source: &SourceKind,
        request: &ClipRequest,
        resamplers: &Resamplers,
    ) -> Result<(), AudioError> {
        let Input::Decoder(decoder) = &mut self.input else { return Ok(()) };
        decoder.scan(source.open()?, &self.heartbeat)?;
        if decoder.predominant_rate_hz().is_some() && decoder.spacing() != Spacing::ALL {
            return Err(AudioError::Refused { reason: "several sample rates".into() });
        }
        if let Some(rate_hz) = decoder.predominant_rate_hz() {
            // Reopened so that the first frames are resampled to the rate of the others.
            self.rate_hz = rate_hz;
            self.resampling = Resampling::new(rate_hz, self.to_hz, Spacing::ALL, resamplers)?;
            self.restart(source, request)?;
        }
        Ok(())
    }

    /// Power before and after mixing, summed over the clips that were read.
    pub(super) fn power(&self) -> MixPower {
        match &self.input {
            Input::Decoded { power, .. } => *power,
            _ => self.power,
        }
    }

    /// Reopens the track at its start.
    pub(super) fn restart(&mut self, source: &SourceKind, request: &ClipRequest) -> Result<(), AudioError> {
        let (mut input, mut rate_hz) = Input::open(source, request)?;
        if let (Input::Decoder(new), Input::Decoder(old)) = (&mut input, &self.input) {
            new.restart_as(old)?;
            rate_hz = new.rate_hz();
        }
        if rate_hz != self.rate_hz {
            return Err(AudioError::Damaged { reason: "the file changed while it was read".into() });
        }
        self.input = input;
        self.resampling = self.resampling.restarted()?;
        self.ended = false;
        self.skipped = 0;
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

    /// Length in samples at the track's own rate, as counted or as the container states it.
    pub(super) fn stated_frames(&self) -> Option<u64> {
        match &self.input {
            Input::Decoder(decoder) => decoder.stated_frames(),
            Input::Samples { samples, .. } => Some(samples.len() as u64),
            Input::Decoded { frames, .. } => Some(*frames),
        }
    }

    /// Name of the decoder.
    pub(super) fn decoder_name(&self) -> &'static str {
        match &self.input {
            Input::Decoder(decoder) => decoder.name(),
            Input::Samples { .. } => "none",
            Input::Decoded { .. } => "ffmpeg",
        }
    }

    /// Time spent on resampling so far.
    pub(super) fn resample_time(&self) -> Duration {
        self.resample_time
    }

    /// Number of samples at the track's own rate that were skipped without decoding.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Sample rate before resampling, in Hz.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    pub(super) fn is_fallback(&self) -> bool {
        self.resampling.is_fallback()
    }

    /// True once the last input sample has been read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Number of input samples read so far.
    pub(super) fn frames_read(&self) -> u64 {
        self.resampling.received()
    }

    /// Number of output samples for `frames` input samples.
    pub(super) fn outputs(&self, frames: u64) -> u64 {
        output_lens(frames, self.rate_hz, self.to_hz).1
    }

    /// Skips the input that output sample `start` does not need, if the format allows it. Must be called before the
    /// first read.
    ///
    /// # Errors
    /// [`PositionLost`] when the track must be reopened and decoded from its start.
    pub(super) fn skip_to(&mut self, start: u64) -> Result<(), PositionLost> {
        let Some(wanted) = self.resampling.first_input(start).filter(|&wanted| wanted > 0) else {
            return Ok(());
        };
        match self.input.skip_to(wanted)? {
            Some(at) if self.resampling.seek(at) => {
                self.skipped = at;
                Ok(())
            }
            Some(_) => Err(PositionLost),
            None => Ok(()),
        }
    }

    /// Continues at output sample `k` of a track at its start.
    pub(super) fn resume_at(&mut self, k: u64) {
        self.resampling.skip_to(k);
    }

    /// Reads `length` output samples from position `start`; fewer at the end of the track.
    pub(super) fn read_from(&mut self, start: u64, length: usize) -> Result<Vec<f32>, AudioError> {
        self.resampling.skip_to(start);
        self.from_input = self.resampling.first_input(start).unwrap_or(0);
        let mut samples = Vec::with_capacity(length.min(MOST_RESERVED));
        self.read(&mut samples, length)?;
        Ok(samples)
    }

    /// Appends output samples until `y` holds `wanted` samples or the track ends.
    pub(super) fn read(&mut self, y: &mut Vec<f32>, wanted: usize) -> Result<(), AudioError> {
        loop {
            // Many outputs at a time share each row of the filter.
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

    /// Reads to the end without computing output, and returns the true length of the track.
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
        self.heartbeat.check()?;
        if let Some(span) = self.input.next_block(&mut self.block)? {
            if let Input::Decoder(decoder) = &self.input
                && self.resampling.received() + span > self.from_input
                && !self.is_done
            {
                self.power.add(decoder.power());
            }
            self.resampling.push(&self.block, span)
        } else {
            self.ended = true;
            self.resampling.finish()
        }
    }
}
