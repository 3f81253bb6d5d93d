//! Which clips are wanted, and a reader that yields them one by one.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::decode::{Decoder, DecoderMode};
use super::error::AudioError;
use super::foreign::{self, Encoded, Foreign};
use super::level::{Loudness, loudness};
use super::packets::End;
use super::pulse::Pulse;
use super::resample::Resamplers;
use super::source::{Kind, Source};
use super::track::Track;
use crate::error::ErrorKind;

/// Difference between a stated and a found length that is no news: containers count whole packets.
const TOLERATED_FRAMES: u64 = 4096;
/// Latest start of [`Placement::At`]: 115 days.
const MAX_START_S: f64 = 1e7;
/// Samples pulled at a time while whole tracks are read.
const STRIP: usize = 16_384;

/// Which part of a track becomes clips.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Placement {
    /// One clip from the middle: it starts at `floor((track - clip) / 2)`, in samples at the clip's rate.
    #[default]
    Centre,
    /// One clip that starts this many seconds into the track.
    At(f64),
    /// Clips from the track's start on, one every `stride_samples` (at the clip's rate), as long as a whole
    /// clip fits. If more than half a stride then remains uncovered, one more clip ends with the track.
    All {
        /// Distance between the starts of two clips, in samples at the clip's rate; not 0.
        stride_samples: usize,
    },
}

/// What fills a clip when the track is too short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Zeros after the audio.
    #[default]
    Zeros,
    /// The audio again and again.
    Repeat,
}

/// What becomes of what lies before a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is passed over where the format allows that to the sample.
    #[default]
    Seek,
    /// It is decoded and dropped.
    Through,
}

/// The clips that a model wants of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipRequest {
    /// Sample rate of the clips in Hz.
    pub rate_hz: u32,
    /// Length of each clip in samples at that rate.
    pub length_samples: usize,
    /// Which part of the track.
    pub placement: Placement,
    /// What to do about too short tracks.
    pub padding: Padding,
    /// How to decode; without effect on samples from memory.
    pub decoder: DecoderMode,
    /// What becomes of what lies before a clip.
    pub access: Access,
    /// What becomes of formats that are not read here.
    pub foreign: Foreign,
}

impl ClipRequest {
    /// One zero-padded clip from the centre, decoded plainly.
    pub fn new(rate_hz: u32, length_samples: usize) -> ClipRequest {
        ClipRequest {
            rate_hz,
            length_samples,
            placement: Placement::default(),
            padding: Padding::default(),
            decoder: DecoderMode::default(),
            access: Access::default(),
            foreign: Foreign::default(),
        }
    }

    fn check(&self) -> Result<(), AudioError> {
        let refuse = |field, found: String, expected| Err(AudioError::Request { field, found, expected });
        if !super::RATES_HZ.contains(&self.rate_hz) {
            return refuse("rate_hz", self.rate_hz.to_string(), "1000 to 768000");
        }
        if self.length_samples == 0 {
            return refuse("length_samples", "0".into(), "1 or more");
        }
        match self.placement {
            Placement::All { stride_samples: 0 } => refuse("stride_samples", "0".into(), "1 or more"),
            Placement::At(seconds) if !(0.0..=MAX_START_S).contains(&seconds) => {
                refuse("start in seconds", seconds.to_string(), "0 to 10000000")
            }
            _ => Ok(()),
        }
    }
}

/// A slice of a track, at the request's rate and of the request's length.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Mono samples, nominally in -1..1.
    pub samples: Vec<f32>,
    /// Position in the track, in samples at the clip's rate.
    pub start_samples: u64,
    /// How many of `samples` are audio; the rest is padding.
    pub audio_samples: usize,
}

/// Something about a track that its reader should know, though clips were made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Packets that could not be decoded; the audio closes up over them.
    DamagedPackets {
        /// How many.
        count: u64,
    },
    /// The file ends, or becomes unreadable, in the middle.
    Truncated {
        /// What the reader met.
        reason: String,
    },
    /// The container states another length than was found.
    LengthWrong {
        /// Length in seconds as stated.
        stated_s: f64,
        /// Length in seconds as decoded.
        found_s: f64,
    },
    /// A part of the track has another sample rate; it was resampled to that of the track.
    RateChange {
        /// Rate of the track in Hz.
        from_hz: u32,
        /// Rate of the part in Hz.
        to_hz: u32,
    },
    /// Bytes, pages or a stretch of time that hold no audio because the file is damaged.
    Damaged {
        /// Extent of the damage.
        extent: String,
    },
    /// Message of the external decoder about damage, without control characters.
    External {
        /// The message, at most some hundred characters.
        message: String,
    },
    /// The channels cancel each other when they are mixed: the clip lacks what they hold.
    Cancellation {
        /// Level that mixing loses, in dB.
        loss_db: f64,
    },
    /// The clip is so quiet that its tags may be those of noise.
    Quiet {
        /// RMS level in dB of full scale, the mean not counted.
        level_dbfs: f64,
    },
    /// The clip holds silence, or a constant.
    Silent,
    /// The rates have no small ratio, so the samples are not exactly those of the original's resampler.
    FallbackResampler {
        /// Rate of the track in Hz.
        from_hz: u32,
        /// Rate of the clips in Hz.
        to_hz: u32,
    },
    /// The track, or what remains of it after the start asked for, is shorter than a clip.
    Padded {
        /// Samples of audio in the clip.
        audio_samples: usize,
        /// Length of the clip in samples.
        clip_samples: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DamagedPackets { count: 1 } => f.write_str("1 damaged packet skipped"),
            Warning::DamagedPackets { count } => write!(f, "{count} damaged packets skipped"),
            Warning::Truncated { reason } => write!(f, "file ends early: {reason}"),
            Warning::LengthWrong { stated_s, found_s } => {
                write!(f, "file states {stated_s:.3} s, found {found_s:.3} s")
            }
            Warning::RateChange { from_hz, to_hz } => {
                write!(f, "sample rate changes from {from_hz} to {to_hz} Hz inside the file")
            }
            Warning::Damaged { extent } => write!(f, "damaged: {extent}"),
            Warning::External { message } => write!(f, "ffmpeg: {message}"),
            Warning::Cancellation { loss_db } => {
                write!(f, "channels cancel each other: mixing to mono loses {loss_db:.1} dB")
            }
            Warning::Quiet { level_dbfs } => write!(f, "very quiet: {level_dbfs:.1} dBFS"),
            Warning::Silent => f.write_str("silent"),
            Warning::FallbackResampler { from_hz, to_hz } => {
                write!(
                    f,
                    "uncommon rate: {from_hz} to {to_hz} Hz by interpolated sinc, not the original's filter"
                )
            }
            Warning::Padded { audio_samples, clip_samples } => {
                write!(f, "shorter than a clip: {audio_samples} of {clip_samples} samples, padded")
            }
        }
    }
}

/// Yields the clips of one track, decoding as far as each needs.
///
/// After an error it yields nothing more.
pub struct ClipReader {
    source: Source,
    request: ClipRequest,
    track: Track,
    /// Length of the track at its own rate, as far as known.
    frames: Option<u64>,
    padded: Option<Warning>,
    length_wrong: Option<Warning>,
    /// Loudest clip so far.
    loudness: Option<Loudness>,
    /// Kept for reading the track anew by another decoder.
    resamplers: Resamplers,
    pulse: Pulse,
    progress: Progress,
}

/// A track that was opened, its length at its own rate as far as it is known, and if it states another.
struct Tracked {
    track: Track,
    frames: Option<u64>,
    length_wrong: Option<Warning>,
}

enum Progress {
    /// The one clip of `Centre` or `At` is still to be made.
    One,
    All(Sliding),
    Done,
}

/// The outputs that clips of [`Placement::All`] are cut from.
#[derive(Default)]
struct Sliding {
    /// The latest outputs, at least a clip's length of them.
    recent: Vec<f32>,
    /// Position of the first of them.
    base: u64,
    next_start: u64,
    last_start: Option<u64>,
}

impl Sliding {
    /// A clip of outputs that are all there.
    fn cut(&self, start_samples: u64, length: usize) -> Clip {
        let at = (start_samples - self.base) as usize;
        Clip { samples: self.recent[at..at + length].to_vec(), start_samples, audio_samples: length }
    }
}

impl ClipReader {
    /// Opens `source` and finds the track's length where the placement depends on it.
    ///
    /// # Errors
    /// [`AudioError::Request`] for a request that no track could fulfil, else whatever is wrong with the
    /// source.
    pub fn open(
        source: Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
    ) -> Result<ClipReader, AudioError> {
        ClipReader::open_watched(source, request, resamplers, &Pulse::default())
    }

    /// As [`ClipReader::open`], with a sign of life at each packet.
    ///
    /// # Errors
    /// As [`ClipReader::open`]; [`AudioError::Stopped`] once the pulse is.
    pub fn open_watched(
        source: Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
        pulse: &Pulse,
    ) -> Result<ClipReader, AudioError> {
        request.check()?;
        pulse.go_on()?;
        let source = Source(source.0.rereadable()?);
        match ClipReader::tracked(&source, request, resamplers, pulse) {
            Ok(tracked) => Ok(ClipReader::new(source, tracked, request, resamplers, pulse)),
            Err(error) if error.is_of_content() && request.foreign == Foreign::Ffmpeg => {
                ClipReader::open_decoded(&source, error, request, resamplers, pulse)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens `source` as `ffmpeg` decodes it, because the built-in decoder failed with `first`.
    fn open_decoded(
        source: &Source,
        first: AudioError,
        request: &ClipRequest,
        resamplers: &Resamplers,
        pulse: &Pulse,
    ) -> Result<ClipReader, AudioError> {
        let decoded = Source(decoded_by_ffmpeg(&source.0, first, pulse)?);
        let tracked = ClipReader::tracked(&decoded, request, resamplers, pulse)?;
        Ok(ClipReader::new(decoded, tracked, request, resamplers, pulse))
    }

    fn new(
        source: Source,
        tracked: Tracked,
        request: &ClipRequest,
        resamplers: &Resamplers,
        pulse: &Pulse,
    ) -> ClipReader {
        let Tracked { track, frames, length_wrong } = tracked;
        let progress = match request.placement {
            Placement::All { .. } => Progress::All(Sliding::default()),
            _ => Progress::One,
        };
        ClipReader {
            source,
            request: *request,
            track,
            frames,
            padded: None,
            length_wrong,
            loudness: None,
            resamplers: resamplers.clone(),
            pulse: pulse.clone(),
            progress,
        }
    }

    /// Opens the track and reads facts about the whole of it.
    fn tracked(
        source: &Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
        pulse: &Pulse,
    ) -> Result<Tracked, AudioError> {
        let mut track = Track::open(&source.0, request, resamplers, pulse)?;
        track.survey(&source.0, request, resamplers)?;
        let centre = request.placement == Placement::Centre;
        let mut frames = track.stated_frames();
        if frames.is_none() && centre {
            frames = track.count(&source.0)?;
        }
        let length_wrong = match (&source.0, track.decoder(), frames) {
            (Kind::Decoded(decoded), ..) => decoded.wrong_length(),
            (_, Some(decoder), Some(counted)) => wrong_length(decoder, counted),
            _ => None,
        };
        Ok(Tracked { track, frames, length_wrong })
    }

    /// What decodes the track: `symphonia`, `nanomp3`, `ffmpeg`, or `none` for samples from memory.
    pub fn decoder_name(&self) -> &'static str {
        self.track.decoder_name()
    }

    /// Time that resampling took so far.
    pub fn resample_time(&self) -> Duration {
        self.track.resample_time()
    }

    /// Samples before the clip, at the track's own rate, that were passed over and not decoded.
    pub fn passed_over(&self) -> u64 {
        self.track.passed()
    }

    /// The track's sample rate in Hz, before resampling.
    pub fn track_rate_hz(&self) -> u32 {
        self.track.rate_hz()
    }

    /// The track's length in seconds: exact once its end has been seen, before that as the container states
    /// it, or `None` where it says nothing.
    pub fn track_seconds(&self) -> Option<f64> {
        self.frames.map(|frames| frames as f64 / f64::from(self.track.rate_hz()))
    }

    /// What is to be said about the track so far; complete after the last clip.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let (from_hz, to_hz) = (self.track.rate_hz(), self.request.rate_hz);
        if self.track.is_fallback() {
            warnings.push(Warning::FallbackResampler { from_hz, to_hz });
        }
        if let Some(decoder) = self.track.decoder() {
            if decoder.damaged() > 0 {
                warnings.push(Warning::DamagedPackets { count: decoder.damaged() });
            }
            match decoder.end() {
                Some(End::Broken { reason }) => warnings.push(Warning::Truncated { reason: reason.clone() }),
                Some(End::Regular) | None => {}
            }
            if let Some(to_hz) = decoder.other_rate_hz() {
                warnings.push(Warning::RateChange { from_hz, to_hz });
            }
            let survey = decoder.surveyed();
            let counted = [
                (survey.damaged_pages, "damaged or missing pages"),
                (survey.stray_bytes, "bytes without audio"),
            ];
            for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
                warnings.push(Warning::Damaged { extent: format!("{count} {what}") });
            }
            if decoder.missing_s() > 0.0 {
                warnings
                    .push(Warning::Damaged { extent: format!("{:.2} s without audio", decoder.missing_s()) });
            }
        }
        if let Kind::Decoded(decoded) = &self.source.0 {
            warnings.extend(decoded.messages.iter().cloned().map(|message| Warning::External { message }));
        }
        if let Some(loss_db) = self.track.power().cancellation_db() {
            warnings.push(Warning::Cancellation { loss_db });
        }
        match self.loudness {
            Some(Loudness::Silent) => warnings.push(Warning::Silent),
            Some(Loudness::Quiet { level_dbfs }) => warnings.push(Warning::Quiet { level_dbfs }),
            Some(Loudness::Normal) | None => {}
        }
        warnings.extend(self.length_wrong.clone());
        warnings.extend(self.padded.clone());
        warnings
    }

    /// The clip in the middle. A length that turns out to be wrong costs a second pass with the true one.
    fn centre(&mut self) -> Result<Clip, AudioError> {
        let length = self.request.length_samples;
        let mut frames = self.frames.unwrap_or(0);
        let mut start = self.centre_start(frames);
        let mut samples = self.read_from(start, length)?;
        let total = self.track.outputs(frames);
        if samples.len() < length || total < length as u64 {
            frames = self.track.read_to_end()?;
            self.set_true_length(frames)?;
            let true_start = self.centre_start(frames);
            if true_start != start {
                start = true_start;
                // The second pass only repeats what the first one warned of.
                self.track.restart(&self.source.0, &self.request)?;
                samples = self.read_from(start, length)?;
            }
        }
        Ok(self.padded_clip(samples, start))
    }

    /// Outputs from output `start` on, the track being at its own start.
    fn read_from(&mut self, start: u64, length: usize) -> Result<Vec<f32>, AudioError> {
        if self.request.access == Access::Seek && self.track.pass_over(start).is_err() {
            self.track.restart(&self.source.0, &self.request)?;
        }
        self.track.read_from(start, length)
    }

    fn centre_start(&self, frames: u64) -> u64 {
        self.track.outputs(frames).saturating_sub(self.request.length_samples as u64) / 2
    }

    fn at(&mut self, seconds: f64) -> Result<Clip, AudioError> {
        let start = (seconds * f64::from(self.request.rate_hz)).round() as u64;
        let samples = self.read_from(start, self.request.length_samples)?;
        if samples.len() < self.request.length_samples {
            let frames = self.track.read_to_end()?;
            self.set_true_length(frames)?;
        }
        if samples.is_empty() {
            let track_s = self.track_seconds().unwrap_or(0.0);
            return Err(AudioError::StartBeyondEnd { start_s: seconds, track_s });
        }
        Ok(self.padded_clip(samples, start))
    }

    /// The next clip of a whole track, or `None` after the last one.
    fn slide(&mut self, sliding: &mut Sliding, stride: usize) -> Result<Option<Clip>, AudioError> {
        let length = self.request.length_samples;
        while !self.track.has_ended() {
            let made = sliding.base + sliding.recent.len() as u64;
            let missing = (sliding.next_start + length as u64).saturating_sub(made);
            if missing == 0 {
                break;
            }
            // The last clip's length of outputs stays: the final clip ends with the track.
            let unused = (made.saturating_sub(length as u64)).min(sliding.next_start) - sliding.base;
            if unused as usize > STRIP + length / 4 {
                sliding.recent.drain(..unused as usize);
                sliding.base += unused;
            }
            let wanted = sliding.recent.len() + STRIP.min(missing as usize);
            self.track.read(&mut sliding.recent, wanted)?;
        }
        let total = sliding.base + sliding.recent.len() as u64;
        if sliding.next_start + length as u64 <= total {
            let clip = sliding.cut(sliding.next_start, length);
            sliding.last_start = Some(sliding.next_start);
            sliding.next_start += stride as u64;
            return Ok(Some(clip));
        }
        let frames = self.track.frames_read();
        self.set_true_length(frames)?;
        let clip = match sliding.last_start {
            None => Some(self.padded_clip(std::mem::take(&mut sliding.recent), 0)),
            Some(last) => {
                let uncovered = total.saturating_sub(last + length as u64);
                (uncovered > stride as u64 / 2).then(|| sliding.cut(total - length as u64, length))
            }
        };
        self.progress = Progress::Done;
        Ok(clip)
    }

    /// Notes the length that was found at the track's end.
    fn set_true_length(&mut self, frames: u64) -> Result<(), AudioError> {
        self.frames = Some(frames);
        if let Some(decoder) = self.track.decoder() {
            if frames == 0 {
                return Err(AudioError::NothingDecoded { damaged: decoder.damaged(), reason: None });
            }
            // Skipped packets explain a difference from what packets were counted.
            self.length_wrong = wrong_length(decoder, frames).or(self.length_wrong.take());
        } else if frames == 0 {
            return Err(AudioError::Empty);
        }
        Ok(())
    }

    fn padded_clip(&mut self, mut samples: Vec<f32>, start_samples: u64) -> Clip {
        let length = self.request.length_samples;
        let audio_samples = samples.len();
        if audio_samples < length {
            self.padded = Some(Warning::Padded { audio_samples, clip_samples: length });
            match self.request.padding {
                Padding::Repeat if audio_samples > 0 => {
                    samples.reserve_exact(length - audio_samples);
                    for i in audio_samples..length {
                        samples.push(samples[i - audio_samples]);
                    }
                }
                _ => samples.resize(length, 0.0),
            }
        }
        Clip { samples, start_samples, audio_samples }
    }
}

impl Iterator for ClipReader {
    type Item = Result<Clip, AudioError>;

    fn next(&mut self) -> Option<Self::Item> {
        let clip = match self.next_clip() {
            // Another decoder may make more of it, as long as nothing was given away.
            Err(error)
                if error.is_of_content()
                    && self.loudness.is_none()
                    && self.request.foreign == Foreign::Ffmpeg
                    && !matches!(self.source.0, Kind::Decoded(_)) =>
            {
                self.read_by_ffmpeg(error)
            }
            clip => clip,
        };
        if let Ok(Some(clip)) = &clip {
            let found = loudness(clip.samples.get(..clip.audio_samples).unwrap_or_default());
            self.loudness = Some(self.loudness.map_or(found, |loudest| louder(loudest, found)));
        }
        clip.transpose()
    }
}

fn louder(a: Loudness, b: Loudness) -> Loudness {
    match (a, b) {
        (Loudness::Quiet { level_dbfs: a }, Loudness::Quiet { level_dbfs: b }) => {
            Loudness::Quiet { level_dbfs: a.max(b) }
        }
        (Loudness::Silent, other) | (other, Loudness::Silent) => other,
        _ => Loudness::Normal,
    }
}

impl ClipReader {
    /// The first clip, as `ffmpeg` decodes it where the built-in decoder failed with `error`.
    fn read_by_ffmpeg(&mut self, error: AudioError) -> Result<Option<Clip>, AudioError> {
        *self = ClipReader::open_decoded(&self.source, error, &self.request, &self.resamplers, &self.pulse)?;
        self.next_clip()
    }

    fn next_clip(&mut self) -> Result<Option<Clip>, AudioError> {
        // An error leaves the reader done; only sliding puts its progress back.
        match (std::mem::replace(&mut self.progress, Progress::Done), self.request.placement) {
            (Progress::One, Placement::At(seconds)) => self.at(seconds).map(Some),
            (Progress::One, _) => self.centre().map(Some),
            (Progress::All(mut sliding), Placement::All { stride_samples }) => {
                let before = sliding.next_start;
                let clip = self.slide(&mut sliding, stride_samples);
                if clip.is_ok() && sliding.next_start > before {
                    self.progress = Progress::All(sliding);
                }
                clip
            }
            _ => Ok(None),
        }
    }
}

/// A track that `ffmpeg` decodes because the built-in decoder failed with `first`, or both errors.
fn decoded_by_ffmpeg(source: &Kind, first: AudioError, pulse: &Pulse) -> Result<Kind, AudioError> {
    let decoded = if matches!(first, AudioError::Dts) {
        let words = dts_stream(source, pulse)?;
        foreign::decode(Encoded::Dts(words), pulse)
    } else {
        match source.encoded() {
            Some(encoded) => foreign::decode(encoded, pulse),
            None => return Err(first),
        }
    };
    match decoded {
        Ok(decoded) => Ok(Kind::Decoded(decoded)),
        Err(AudioError::NoFfmpeg) if first.kind() == ErrorKind::Unsupported => {
            Err(AudioError::NeedsFfmpeg { reason: first.to_string() })
        }
        Err(AudioError::NoFfmpeg) => Err(first),
        Err(AudioError::Ffmpeg { reason }) => {
            Err(AudioError::Both { first: Box::new(first), ffmpeg: reason })
        }
        Err(error) => Err(error),
    }
}

/// The DTS stream that stands in the place of a track's samples, as a file.
fn dts_stream(source: &Kind, pulse: &Pulse) -> Result<std::fs::File, AudioError> {
    let mut decoder = Decoder::open_words(source.open()?)?;
    let mut file = std::io::BufWriter::new(tempfile::tempfile().map_err(AudioError::Spool)?);
    let mut words = Vec::new();
    while decoder.next_words(&mut words)? {
        pulse.go_on()?;
        file.write_all(&words).map_err(AudioError::Spool)?;
    }
    let mut file = file.into_inner().map_err(|error| AudioError::Spool(error.into_error()))?;
    std::io::Seek::rewind(&mut file).map_err(AudioError::Spool)?;
    Ok(file)
}

fn wrong_length(decoder: &Decoder, found: u64) -> Option<Warning> {
    let stated = decoder.claimed_frames()?;
    let rate_hz = f64::from(decoder.rate_hz());
    (stated.abs_diff(found) > TOLERATED_FRAMES)
        .then(|| Warning::LengthWrong { stated_s: stated as f64 / rate_hz, found_s: found as f64 / rate_hz })
}
