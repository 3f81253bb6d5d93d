//! Reader that yields the clips of one track.

use std::time::Duration;

use super::error::AudioError;
use super::files;
use super::heartbeat::Heartbeat;
use super::level::{Loudness, loudness};
use super::polyphase::Resamplers;
use super::request::{ClipRequest, DecoderMode, ExternalDecoder, Placement, SeekMode};
use super::source::{Source, SourceKind};
use super::track::TrackReader;
use super::warning::Warning;

/// Samples read at a time for [`Placement::All`].
const STRIP: usize = 16_384;
/// Reach of the resampler's filter at the clip's rate.
const REACH_SAMPLES: u64 = 64;

/// Part of a track, with the sample rate and length of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Mono samples, nominally in -1..1.
    pub samples: Vec<f32>,
    /// Position in the track, in samples at the clip's rate.
    pub start_samples: u64,
    /// Number of samples that are audio; the rest is padding.
    pub audio_samples: usize,
}

/// Iterator over the clips of one track, decoding on demand. Ends after the first error.
pub struct ClipReader {
    source: Source,
    request: ClipRequest,
    track: TrackReader,
    /// Length of the track in samples at its own rate, if known.
    frames: Option<u64>,
    padded: Option<Warning>,
    length_warning: Option<Warning>,
    /// Loudest clip so far.
    loudness: Option<Loudness>,
    /// Kept for reopening the track with another decoder.
    resamplers: Resamplers,
    heartbeat: Heartbeat,
    state: ReadState,
}

/// An opened track, its length in samples at its own rate if known, and a warning if the stated length differs.
struct OpenTrack {
    track: TrackReader,
    frames: Option<u64>,
    length_warning: Option<Warning>,
}

enum ReadState {
    /// The one clip of `Centre` or `At` is still to be made.
    One,
    All(SlidingWindow),
    Done,
}

/// Window of resampled samples from which clips of [`Placement::All`] are cut.
#[derive(Default)]
struct SlidingWindow {
    /// Most recent samples, at least one clip.
    recent: Vec<f32>,
    /// Position in the track of the first of them.
    base: u64,
    next_start: u64,
    last_start: Option<u64>,
}

impl SlidingWindow {
    /// Copies a clip whose samples are all in the window.
    fn cut(&self, start_samples: u64, length: usize) -> Clip {
        let at = (start_samples - self.base) as usize;
        Clip { samples: self.recent[at..at + length].to_vec(), start_samples, audio_samples: length }
    }
}

impl ClipReader {
    /// Opens `source`, and determines the track's length if the placement depends on it.
    ///
    /// # Errors
    /// [`AudioError::Request`] for an invalid request, otherwise the error of the source.
    pub fn open(
        source: Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
    ) -> Result<ClipReader, AudioError> {
        ClipReader::open_watched(source, request, resamplers, &Heartbeat::default())
    }

    /// As [`ClipReader::open`], with a heartbeat that ticks at each packet.
    ///
    /// # Errors
    /// As [`ClipReader::open`]; [`AudioError::Cancelled`] after a cancellation of its heartbeat.
    pub fn open_watched(
        source: Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
        heartbeat: &Heartbeat,
    ) -> Result<ClipReader, AudioError> {
        request.check()?;
        heartbeat.check()?;
        let source = Source(source.0.rereadable()?);
        let mut request = request;
        let full = ClipRequest { decoder: DecoderMode::FullBand, ..*request };
        let mut open_track = ClipReader::open_track(&source, request, resamplers, heartbeat);
        if let Err(AudioError::Refused { .. }) = open_track {
            request = &full;
            open_track = ClipReader::open_track(&source, request, resamplers, heartbeat);
        }
        match open_track {
            Ok(open_track) => Ok(ClipReader::new(source, open_track, request, resamplers, heartbeat)),
            Err(error) if error.is_of_content() && request.external_decoder == ExternalDecoder::Ffmpeg => {
                ClipReader::open_decoded(&source, error, request, resamplers, heartbeat)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens `source` with `ffmpeg` after the built-in decoder failed with `first`.
    fn open_decoded(
        source: &Source,
        first: AudioError,
        request: &ClipRequest,
        resamplers: &Resamplers,
        heartbeat: &Heartbeat,
    ) -> Result<ClipReader, AudioError> {
        let decoded = Source(files::decode_externally(&source.0, first, heartbeat)?);
        let open_track = ClipReader::open_track(&decoded, request, resamplers, heartbeat)?;
        Ok(ClipReader::new(decoded, open_track, request, resamplers, heartbeat))
    }

    fn new(
        source: Source,
        open_track: OpenTrack,
        request: &ClipRequest,
        resamplers: &Resamplers,
        heartbeat: &Heartbeat,
    ) -> ClipReader {
        let OpenTrack { track, frames, length_warning } = open_track;
        let state = match request.placement {
            Placement::All { .. } => ReadState::All(SlidingWindow::default()),
            _ => ReadState::One,
        };
        ClipReader {
            source,
            request: *request,
            track,
            frames,
            padded: None,
            length_warning,
            loudness: None,
            resamplers: resamplers.clone(),
            heartbeat: heartbeat.clone(),
            state,
        }
    }

    /// Opens the track and scans the file for its length and damage.
    fn open_track(
        source: &Source,
        request: &ClipRequest,
        resamplers: &Resamplers,
        heartbeat: &Heartbeat,
    ) -> Result<OpenTrack, AudioError> {
        let mut track = TrackReader::open(&source.0, request, resamplers, heartbeat)?;
        track.scan(&source.0, request, resamplers)?;
        let centre = request.placement == Placement::Centre;
        let mut frames = track.stated_frames();
        if frames.is_none() && centre {
            frames = track.count(&source.0)?;
        }
        let length_warning = match (&source.0, track.decoder(), frames) {
            (SourceKind::Decoded(decoded), ..) => decoded.length_warning(),
            (_, Some(decoder), Some(counted)) => decoder.length_warning(counted),
            _ => None,
        };
        Ok(OpenTrack { track, frames, length_warning })
    }

    /// Name of the decoder: `tagwave`, `tagwave-full`, `symphonia`, `ffmpeg`, or `none` for samples from memory.
    pub fn decoder_name(&self) -> &'static str {
        self.track.decoder_name()
    }

    /// Time spent on resampling so far.
    pub fn resample_time(&self) -> Duration {
        self.track.resample_time()
    }

    /// Number of samples before the clip, at the track's own rate, that were skipped without decoding.
    pub fn skipped_samples(&self) -> u64 {
        self.track.skipped()
    }

    /// The track's sample rate in Hz, before resampling.
    pub fn track_rate_hz(&self) -> u32 {
        self.track.rate_hz()
    }

    /// Length of the track in seconds: exact once its end has been reached, before that as the container states it;
    /// `None` if it does not.
    pub fn track_seconds(&self) -> Option<f64> {
        self.frames.map(|frames| frames as f64 / f64::from(self.track.rate_hz()))
    }

    /// Warnings so far; complete after the last clip.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let (from_hz, to_hz) = (self.track.rate_hz(), self.request.rate_hz);
        if self.track.is_fallback() {
            warnings.push(Warning::FallbackResampler { from_hz, to_hz });
        }
        if let Some(decoder) = self.track.decoder() {
            warnings.extend(decoder.warnings());
        }
        if let SourceKind::Decoded(decoded) = &self.source.0 {
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
        warnings.extend(self.length_warning.clone());
        warnings.extend(self.padded.clone());
        warnings
    }

    /// Reads the clip in the middle. If the stated length turns out to be wrong, a second pass uses the true one.
    fn centre(&mut self) -> Result<Clip, AudioError> {
        let length = self.request.length_samples;
        let mut frames = self.frames.unwrap_or(0);
        let mut start = self.centre_start(frames);
        self.decode_edges_in_full(start)?;
        let mut samples = self.read_from(start, length)?;
        let total = self.track.outputs(frames);
        if samples.len() < length || total < length as u64 {
            frames = self.track.read_to_end()?;
            self.set_true_length(frames)?;
            let true_start = self.centre_start(frames);
            if true_start != start {
                start = true_start;
                // The second pass repeats the warnings of the first one.
                self.track.restart(&self.source.0, &self.request)?;
                samples = self.read_from(start, length)?;
            }
        }
        Ok(self.padded_clip(samples, start))
    }

    /// Reads `length` samples from position `start` at the clip's rate. The track must be at its start.
    fn read_from(&mut self, start: u64, length: usize) -> Result<Vec<f32>, AudioError> {
        if self.request.seek_mode == SeekMode::Seek && self.track.skip_to(start).is_err() {
            self.track.restart(&self.source.0, &self.request)?;
        }
        self.track.read_from(start, length)
    }

    /// Opens the track again in full bandwidth if the clip at `start` reaches the start or the end of the track: a
    /// signal that is cut there has all frequencies, and sounds different if some are missing.
    fn decode_edges_in_full(&mut self, start: u64) -> Result<(), AudioError> {
        let end = start.saturating_add(self.request.length_samples as u64 + REACH_SAMPLES);
        let total = self.frames.map_or(u64::MAX, |frames| self.track.outputs(frames));
        let is_limited = self.track.decoder().is_some_and(|decoder| decoder.is_limited());
        if is_limited && (start < REACH_SAMPLES || end > total) {
            self.use_full_band(AudioError::Refused {
                reason: "the clip reaches an end of the track".into(),
            })?;
        }
        Ok(())
    }

    fn centre_start(&self, frames: u64) -> u64 {
        self.track.outputs(frames).saturating_sub(self.request.length_samples as u64) / 2
    }

    fn at(&mut self, seconds: f64) -> Result<Clip, AudioError> {
        let start = (seconds * f64::from(self.request.rate_hz)).round() as u64;
        self.decode_edges_in_full(start)?;
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

    /// Reads the next clip of [`Placement::All`], or `None` after the last one.
    fn slide(&mut self, sliding: &mut SlidingWindow, stride: usize) -> Result<Option<Clip>, AudioError> {
        let length = self.request.length_samples;
        while !self.track.has_ended() {
            let made = sliding.base + sliding.recent.len() as u64;
            let missing = (sliding.next_start + length as u64).saturating_sub(made);
            if missing == 0 {
                break;
            }
            // The last clip's length of samples is kept: the final clip ends with the track.
            let unused = (made.saturating_sub(length as u64)).min(sliding.next_start) - sliding.base;
            if unused as usize > STRIP + length / 4 {
                sliding.recent.drain(..unused as usize);
                sliding.base += unused;
            }
            let wanted = sliding.recent.len() + STRIP.min(missing as usize);
            if let Err(error) = self.track.read(&mut sliding.recent, wanted) {
                self.use_full_band(error)?;
                self.track.resume_at(sliding.base + sliding.recent.len() as u64);
            }
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
        self.state = ReadState::Done;
        Ok(clip)
    }

    /// Records the length that was found at the end of the track.
    fn set_true_length(&mut self, frames: u64) -> Result<(), AudioError> {
        self.frames = Some(frames);
        if let Some(decoder) = self.track.decoder() {
            if frames == 0 {
                return Err(AudioError::NothingDecoded { damaged: decoder.damaged(), reason: None });
            }
            // Skipped packets may explain the difference.
            self.length_warning = decoder.length_warning(frames).or(self.length_warning.take());
        } else if frames == 0 {
            return Err(AudioError::Empty);
        }
        Ok(())
    }

    fn padded_clip(&mut self, mut samples: Vec<f32>, start_samples: u64) -> Clip {
        let length = self.request.length_samples;
        let audio_samples = samples.len();
        if audio_samples < length {
            let seconds = |samples: usize| samples as f64 / f64::from(self.request.rate_hz);
            self.padded = Some(Warning::Padded { audio_s: seconds(audio_samples), clip_s: seconds(length) });
            self.request.padding.pad(&mut samples, length);
        }
        Clip { samples, start_samples, audio_samples }
    }
}

impl Iterator for ClipReader {
    type Item = Result<Clip, AudioError>;

    fn next(&mut self) -> Option<Self::Item> {
        let clip = match self.next_clip() {
            // Another decoder may succeed, as long as no clip was returned.
            Err(error)
                if error.is_of_content()
                    && self.loudness.is_none()
                    && self.request.external_decoder == ExternalDecoder::Ffmpeg
                    && !matches!(self.source.0, SourceKind::Decoded(_)) =>
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
    /// Reads the first clip with `ffmpeg` after the built-in decoder failed with `error`.
    fn read_by_ffmpeg(&mut self, error: AudioError) -> Result<Option<Clip>, AudioError> {
        *self =
            ClipReader::open_decoded(&self.source, error, &self.request, &self.resamplers, &self.heartbeat)?;
        self.next_clip()
    }

    /// Reads the only clip of its placement.
    fn one(&mut self) -> Result<Clip, AudioError> {
        match self.request.placement {
            Placement::At(seconds) => self.at(seconds),
            _ => self.centre(),
        }
    }

    /// Opens the track again in full bandwidth after `error`.
    ///
    /// # Errors
    /// `error` itself if it has another cause.
    fn use_full_band(&mut self, error: AudioError) -> Result<(), AudioError> {
        if !matches!(error, AudioError::Refused { .. }) {
            return Err(error);
        }
        self.request.decoder = DecoderMode::FullBand;
        let open_track =
            ClipReader::open_track(&self.source, &self.request, &self.resamplers, &self.heartbeat)?;
        (self.track, self.frames) = (open_track.track, open_track.frames);
        self.length_warning = open_track.length_warning;
        Ok(())
    }

    fn next_clip(&mut self) -> Result<Option<Clip>, AudioError> {
        // After an error the reader is done.
        match (std::mem::replace(&mut self.state, ReadState::Done), self.request.placement) {
            (ReadState::One, _) => {
                let clip = self.one();
                match clip {
                    Err(error @ AudioError::Refused { .. }) => {
                        self.use_full_band(error)?;
                        self.one().map(Some)
                    }
                    clip => clip.map(Some),
                }
            }
            (ReadState::All(mut sliding), Placement::All { stride_samples }) => {
                let before = sliding.next_start;
                let clip = self.slide(&mut sliding, stride_samples);
                if clip.is_ok() && sliding.next_start > before {
                    self.state = ReadState::All(sliding);
                }
                clip
            }
            _ => Ok(None),
        }
    }
}
