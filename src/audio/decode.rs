//! Packets to mono samples at the track's own rate.

use std::fs::File;

use symphonia::core::errors::Error;

use super::codec::{Codec, Spec};
use super::error::AudioError;
use super::packets::{End, Next, Packets, Passing, TrackFacts, guarded};
use super::pulse::Pulse;
use super::{MAX_CHANNELS, RATES_HZ};

/// Samples that the original's MP3 decoder dropped at the start and made up with zeros at the end.
const ORIGINAL_DELAY: usize = 529;
/// Packets in a row that decode to nothing before a file is given up.
const MAX_FRUITLESS: u64 = 1_000_000;

/// Samples that passing over must save.
const LEAST_GAIN: u64 = 1 << 16;

/// The place in a track is not known any more.
pub(super) struct Lost;

/// How encoded audio becomes samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DecoderMode {
    /// As decoded; the silence that an encoder put around the music is removed where the file states it.
    #[default]
    Plain,
    /// As the original's decoder did: nothing is removed, and each channel's samples are rounded to 16-bit
    /// integers with saturation. From an MP3 stream the first 529 samples are then dropped and 529 zeros
    /// appended; other codecs have no such delay and are not shifted.
    Original,
}

/// A track that is being decoded.
pub(super) struct Decoder {
    packets: Packets,
    codec: Codec,
    mode: DecoderMode,
    facts: TrackFacts,
    rate_hz: u32,
    /// Samples still to be dropped at the start.
    skip: usize,
    /// The last samples, held back: at the end of the track they turn out to be padding.
    held: Vec<f32>,
    hold: usize,
    /// Zeros still to be appended at the end.
    tail: usize,
    interleaved: Vec<f32>,
    /// The first block: decoded on opening, because the decoder knows the rate better than the container.
    first: Vec<f32>,
    damaged: u64,
    failure: Option<Error>,
    end: Option<End>,
    /// Time of the first sample that the packets give, in samples: where positions count from.
    origin: i64,
    /// Time of the latest packet's first sample.
    time: i64,
    /// Samples that the packets before the latest one give, and those up to its end.
    place: u64,
    next_place: u64,
}

impl Decoder {
    /// Opens the first decodable audio track and decodes up to its first samples.
    pub(super) fn open(file: File, mode: DecoderMode) -> Result<Decoder, AudioError> {
        let (packets, codec, facts) = Packets::open(file, mode)?;
        if let Some(found_hz) = facts.rate_hz {
            check_rate(found_hz)?;
        }
        let (skip, hold, tail) = edges(&facts, mode);
        let mut opened = Decoder {
            packets,
            codec,
            mode,
            facts,
            rate_hz: 0,
            skip,
            held: Vec::new(),
            hold,
            tail,
            interleaved: Vec::new(),
            first: Vec::new(),
            damaged: 0,
            failure: None,
            end: None,
            origin: 0,
            time: 0,
            place: 0,
            next_place: 0,
        };
        let mut first = Vec::new();
        if !opened.decode_block(&mut first)? {
            let reason = match (&opened.failure, &opened.end) {
                (Some(error), _) => Some(error.to_string()),
                (None, Some(End::Broken { reason })) => Some(reason.clone()),
                _ => None,
            };
            return Err(AudioError::NothingDecoded { damaged: opened.damaged, reason });
        }
        opened.first = first;
        opened.origin = opened.time;
        Ok(opened)
    }

    /// Passes over what lies before sample `wanted` of the track, counted as [`Decoder::next_block`] gives
    /// them, and returns the place of the sample that comes next: at most `wanted`. `None` where nothing was
    /// done because little or nothing could be gained.
    ///
    /// # Errors
    /// [`Lost`] when the place is not known any more and the track must be begun anew.
    pub(super) fn pass_over(&mut self, wanted: u64) -> Result<Option<u64>, Lost> {
        let (Some((passing, warm_up)), Some(time_hz)) = (self.facts.passing, self.facts.time_hz) else {
            return Ok(None);
        };
        // What is dropped at the start of bare MPEG audio, before anything is counted.
        let dropped = self.skip as u64;
        let raw = wanted + dropped;
        // The first block tells whether packets give what is expected of them.
        let regular = self.place + self.first.len() as u64 == self.next_place;
        if time_hz != self.rate_hz || wanted < warm_up + LEAST_GAIN || self.first.is_empty() || !regular {
            return Ok(None);
        }
        match passing {
            Passing::Seek => {
                let time = self.origin.saturating_add((raw - warm_up) as i64);
                if !self.packets.seek(time).unwrap_or(false) {
                    return Err(Lost);
                }
            }
            Passing::Count { .. } => {
                while self.next_place < raw - warm_up {
                    let Ok(Next::Packet(packet)) = self.packets.next() else { return Err(Lost) };
                    self.next_place += self.facts.frames_of(&packet);
                }
            }
        }
        self.codec.reset();
        self.first.clear();
        let (damaged, mut block) = (self.damaged, Vec::new());
        loop {
            if !self.decode_block(&mut block).unwrap_or(false) {
                return Err(Lost);
            }
            let place = match passing {
                Passing::Seek => u64::try_from(self.time - self.origin).map_err(|_| Lost)?,
                Passing::Count { .. } => self.place,
            };
            if place > raw {
                return Err(Lost);
            }
            if place + block.len() as u64 > raw {
                // What was damaged while the codec settled is no damage of the track.
                self.damaged = damaged;
                let surplus = dropped.saturating_sub(place);
                block.drain(..surplus as usize);
                self.skip = 0;
                self.first = block;
                return Ok(Some(place + surplus - dropped));
            }
        }
    }

    /// The exact number of samples that the track decodes to where its frames' headers tell, read from `file`: places
    /// are then found without reading up to them. Only at the track's start.
    ///
    /// # Errors
    /// [`AudioError::Stopped`].
    pub(super) fn index(&mut self, file: File, pulse: &Pulse) -> Result<Option<u64>, AudioError> {
        if !(self.facts.is_bare_mpeg && self.facts.is_mp3) {
            return Ok(None);
        }
        let samples = self.packets.index(file, self.time + (self.next_place - self.place) as i64, pulse)?;
        Ok(samples.map(|samples| trimmed(samples, edges(&self.facts, self.mode))))
    }

    /// Rate of the samples in Hz.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// What turns packets into samples.
    pub(super) fn name(&self) -> &'static str {
        self.codec.name()
    }

    /// The track's length in samples as the container states it; `None` where it says nothing or guesses.
    pub(super) fn stated_frames(&self) -> Option<u64> {
        let frames = if self.facts.counts_exactly { None } else { self.facts.frames }?;
        // An AAC stream may state twice the rate that its core, which is what is decoded, has.
        let rate_hz = u128::from(self.facts.rate_hz.filter(|&rate| rate > 0).unwrap_or(self.rate_hz));
        let scaled = u128::from(frames) * u128::from(self.rate_hz) / rate_hz;
        (scaled > 0).then(|| scaled.min(u64::MAX.into()) as u64)
    }

    /// The length that a counted format states beside its packets, for comparison.
    pub(super) fn claimed_frames(&self) -> Option<u64> {
        // Without an encoder's delay the figure may be the demuxer's own estimate.
        let claims = self.facts.is_bare_mpeg && self.facts.delay.is_some() && self.mode == DecoderMode::Plain;
        if claims { self.facts.frames } else { self.stated_frames() }
    }

    /// Packets that could not be decoded so far.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Why the track ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Replaces `out` by the next samples; `false` when there are none left.
    pub(super) fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        out.clear();
        if !self.first.is_empty() {
            std::mem::swap(out, &mut self.first);
        } else if self.end.is_some() || !self.decode_block(out)? {
            out.resize(std::mem::take(&mut self.tail), 0.0);
            return Ok(!out.is_empty());
        }
        let skipped = self.skip.min(out.len());
        self.skip -= skipped;
        out.drain(..skipped);
        if self.hold > 0 {
            self.held.extend_from_slice(out);
            let settled = self.held.len().saturating_sub(self.hold);
            out.clear();
            out.extend_from_slice(&self.held[..settled]);
            self.held.drain(..settled);
        }
        Ok(true)
    }

    /// Replaces `out` by the next packet's samples, mixed to mono; `false` at the end.
    fn decode_block(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        for _packet in 0..MAX_FRUITLESS {
            match self.packets.next()? {
                Next::End(end) => {
                    self.end = Some(end);
                    return Ok(false);
                }
                Next::Restart => match self.packets.restart(self.mode) {
                    Ok(Some(codec)) => self.codec = codec,
                    Ok(None) => {}
                    Err(error) => {
                        self.end = Some(End::Broken { reason: error.to_string() });
                        return Ok(false);
                    }
                },
                Next::Packet(packet) => {
                    self.time = self.facts.time_of(&packet);
                    self.place = self.next_place;
                    self.next_place += self.facts.frames_of(&packet);
                    let (codec, interleaved) = (&mut self.codec, &mut self.interleaved);
                    match guarded("decoding a packet", || codec.decode(packet, interleaved))? {
                        Ok(Spec { frames: 0, .. }) => {}
                        Ok(spec) => return self.accept(spec, out),
                        Err(error) => {
                            self.damaged += 1;
                            self.failure.get_or_insert(error);
                        }
                    }
                }
            }
        }
        self.end = Some(End::Broken { reason: format!("{MAX_FRUITLESS} packets without a sample") });
        Ok(false)
    }

    fn accept(&mut self, spec: Spec, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        let Spec { rate_hz, channels, .. } = spec;
        if self.rate_hz == 0 {
            check_rate(rate_hz)?;
            self.rate_hz = rate_hz;
        }
        if rate_hz != self.rate_hz {
            self.end = Some(End::RateChange { from_hz: self.rate_hz, to_hz: rate_hz });
            return Ok(false);
        }
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(AudioError::Channels { found: channels });
        }
        if self.mode == DecoderMode::Original {
            self.interleaved.iter_mut().for_each(|x| *x = quantised(*x));
        }
        mix(&self.interleaved, channels, out);
        Ok(true)
    }
}

/// Samples to drop at the start, to hold back for the end, and zeros to append.
fn edges(facts: &TrackFacts, mode: DecoderMode) -> (usize, usize, usize) {
    match mode {
        DecoderMode::Original if facts.is_mp3 => (ORIGINAL_DELAY, 0, ORIGINAL_DELAY),
        DecoderMode::Plain if facts.is_bare_mpeg => {
            (facts.delay.unwrap_or(0) as usize, facts.padding.unwrap_or(0) as usize, 0)
        }
        _ => (0, 0, 0),
    }
}

/// The exact number of samples that a track decodes to, from its packets where their durations are exact,
/// else by decoding it. Where [`Decoder::index`] cannot tell.
pub(super) fn count_frames(file: File, decoder: &Decoder, pulse: &Pulse) -> Result<u64, AudioError> {
    let mode = decoder.mode;
    if !decoder.facts.counts_exactly {
        let mut decoder = Decoder::open(file, mode)?;
        let (mut frames, mut block) = (0, Vec::new());
        while decoder.next_block(&mut block)? {
            pulse.go_on()?;
            frames += block.len() as u64;
        }
        return Ok(frames);
    }
    let (mut packets, _, facts) = Packets::open(file, mode)?;
    let mut frames = 0u64;
    while let Next::Packet(packet) = packets.next()? {
        pulse.go_on()?;
        frames = frames.saturating_add(facts.frames_of(&packet));
    }
    Ok(trimmed(frames, edges(&facts, mode)))
}

/// What of so many samples is left between the edges.
fn trimmed(samples: u64, (skip, hold, tail): (usize, usize, usize)) -> u64 {
    samples.saturating_sub((skip + hold) as u64) + tail as u64
}

/// The nearest 16-bit level (ties to even, as the conversion instructions round), saturating; NaN stays.
fn quantised(x: f32) -> f32 {
    (x * 32_768.0).round_ties_even().clamp(-32_768.0, 32_767.0) / 32_768.0
}

/// Mean of the channels.
pub(super) fn mix(interleaved: &[f32], channels: usize, out: &mut Vec<f32>) {
    out.clear();
    match channels {
        1 => out.extend_from_slice(interleaved),
        2 => out.extend(interleaved.as_chunks::<2>().0.iter().map(|[l, r]| 0.5 * l + 0.5 * r)),
        _ => out.extend(
            interleaved
                .chunks_exact(channels)
                .map(|x| (x.iter().map(|&x| f64::from(x)).sum::<f64>() / channels as f64) as f32),
        ),
    }
}

pub(super) fn check_rate(found_hz: u32) -> Result<(), AudioError> {
    if RATES_HZ.contains(&found_hz) { Ok(()) } else { Err(AudioError::Rate { found_hz }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_rounded_to_16_bits_with_saturation() {
        let level = 1.0 / 32_768.0;
        for (x, y) in [(0.4, 0.0), (0.5, 0.0), (1.5, 2.0), (-0.6, -1.0)] {
            assert_eq!(quantised(x * level), y * level);
        }
        assert_eq!(quantised(1.0), 32_767.0 / 32_768.0);
        assert_eq!(quantised(-3.0), -1.0);
        assert!(quantised(f32::NAN).is_nan());
    }

    #[test]
    fn channels_are_averaged() {
        let mut out = vec![9.0];
        mix(&[1.0, -1.0, 0.5, 0.25], 2, &mut out);
        assert_eq!(out, [0.0, 0.375]);
        mix(&[1.0, 2.0, 6.0], 3, &mut out);
        assert_eq!(out, [3.0]);
    }
}
