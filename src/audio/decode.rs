//! Packets to mono samples at the track's own rate.

use std::fs::File;

use symphonia::core::errors::Error;

use super::codec::{Codec, Spec};
use super::dts;
use super::ending::{self, Ending};
use super::error::AudioError;
use super::frames;
use super::level::MixPower;
use super::packets::{End, Next, Packets, Passing, TrackFacts, guarded};
use super::pulse::Pulse;
use super::resample::Resamplers;
use super::stream::Resampling;
use super::{MAX_CHANNELS, RATES_HZ};
use super::{adts, ogg};

/// Samples that the original's MP3 decoder dropped at the start and made up with zeros at the end.
const ORIGINAL_DELAY: usize = 529;
/// Packets in a row that decode to nothing before a file is given up.
const MAX_FRUITLESS: u64 = 1_000_000;

/// Samples that passing over must save.
const LEAST_GAIN: u64 = 1 << 16;

/// Time between two packets of a container from which on something is missing, in seconds.
const GAP_S: f64 = 0.25;

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
    /// Resampler of a part of the track whose rate is not that of the track.
    adapter: Option<(u32, Resampling)>,
    /// Rates in Hz that were met after the track's own.
    other_rate_hz: Option<u32>,
    /// Power of the latest block before and after mixing.
    power: MixPower,
    dts: dts::Detector,
    /// Facts about the whole file: [`Decoder::survey`].
    survey: Survey,
    /// Time in seconds at which the latest packet ended, and the seconds that no packet covered, in containers whose
    /// packets have times and no order numbers.
    covered_s: Option<f64>,
    missing_s: f64,
    /// Samples that the packets before the latest one give, and those up to its end.
    place: u64,
    next_place: u64,
}

impl Decoder {
    /// Opens the first decodable audio track and decodes up to its first samples.
    pub(super) fn open(file: File, mode: DecoderMode) -> Result<Decoder, AudioError> {
        let (packets, codec, facts) = Packets::open(file, mode)?;
        // A rate above 65535 Hz does not fit the field of an MP4 file, and is 0 there.
        if let Some(found_hz) = facts.rate_hz.filter(|&rate_hz| rate_hz > 0) {
            check_rate(found_hz)?;
        }
        let mut opened = Decoder::new(packets, codec, facts, mode);
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

    fn new(packets: Packets, codec: Codec, facts: TrackFacts, mode: DecoderMode) -> Decoder {
        let (skip, hold, tail) = edges(&facts, mode);
        Decoder {
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
            adapter: None,
            other_rate_hz: None,
            power: MixPower::default(),
            dts: dts::Detector::default(),
            survey: Survey::default(),
            covered_s: None,
            missing_s: 0.0,
            origin: 0,
            time: 0,
            place: 0,
            next_place: 0,
        }
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
        // Places in a track of several rates are not those of its packets.
        if !self.survey.is_uniform || self.adapter.is_some() {
            return Ok(None);
        }
        // What is dropped at the start of bare MPEG audio, before anything is counted.
        let dropped = self.skip as u64;
        let raw = wanted + dropped;
        let regular = self.has_regular_packets();
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
        self.dts = dts::Detector::default();
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

    /// True if the first packets give as many samples as is expected of them.
    fn has_regular_packets(&self) -> bool {
        self.place + self.first.len() as u64 == self.next_place
    }

    /// Reads what the whole file says about its frames, without decoding them: the exact number of samples where
    /// frames tell it, the rate that most of the track has, and damage. Only at the track's start; `file` is another
    /// handle of the same file.
    ///
    /// # Errors
    /// [`AudioError::Stopped`], [`AudioError::Io`].
    pub(super) fn survey(&mut self, file: File, pulse: &Pulse) -> Result<(), AudioError> {
        let edges = edges(&self.facts, self.mode);
        let mut survey = Survey { is_uniform: true, ..Survey::default() };
        if self.facts.is_adts {
            let found = adts::survey(self.packets.bytes(), pulse)?;
            survey.stray_bytes = found.stray_bytes;
            let rates = found.frames.iter().map(|&(rate_hz, frames)| (rate_hz, frames * adts::FRAME_SAMPLES));
            survey.is_uniform = found.changes == 0;
            survey.set_rates(rates.collect(), self.rate_hz);
        } else if self.facts.is_bare_mpeg {
            let time = self.time + (self.next_place - self.place) as i64;
            let indexed = if self.facts.is_mp3 { self.packets.index(time, pulse)? } else { None };
            match indexed {
                Some(samples) => survey.frames = Some(samples),
                None => {
                    let (mut packets, _, facts) = Packets::open(file, self.mode)?;
                    let mut rates: Vec<(u32, u64)> = Vec::new();
                    while let Next::Packet(packet) = packets.next()? {
                        pulse.go_on()?;
                        let samples = facts.frames_of(&packet);
                        let rate_hz = frames::spec(&packet.data).map_or(self.rate_hz, |(rate_hz, _)| rate_hz);
                        match rates.iter_mut().find(|(known, _)| *known == rate_hz) {
                            Some((_, sum)) => *sum += samples,
                            None => rates.push((rate_hz, samples)),
                        }
                    }
                    survey.is_uniform = rates.len() < 2;
                    survey.set_rates(rates, self.rate_hz);
                    // Frames that are not contiguous are counted, and found by decoding up to them.
                    survey.is_uniform &= !self.facts.is_mp3;
                }
            }
        } else if self.packets.is_ogg() {
            let found = ogg::survey(self.packets.bytes(), pulse)?;
            (survey.damaged_pages, survey.stray_bytes) = (found.damaged_pages, found.stray_bytes);
            survey.end = found.is_cut.then(|| End::Broken { reason: "it ends inside a page".into() });
            // Times that begin elsewhere than at 0 are those of a stream that this one was cut out of.
            if found.is_irregular || self.origin != 0 {
                survey.frames = Some(count_frames(file, self, pulse)?);
                survey.is_uniform = false;
            }
        } else {
            let ending =
                ending::examine(self.packets.bytes(), self.packets.format()).map_err(AudioError::Io)?;
            if ending != Ending::Plausible {
                self.count_doubtful(file, &mut survey, pulse)?;
            }
            if ending == Ending::Cut && matches!(survey.end, None | Some(End::Regular)) {
                survey.end = Some(End::Broken { reason: "it ends inside its audio data".into() });
            }
        }
        if !self.packets.is_ogg() {
            survey.frames = survey.frames.map(|frames| trimmed(frames, edges));
        }
        self.survey = survey;
        Ok(())
    }

    /// Counts a track whose stated length is doubtful: its packets where they tell their lengths, else its samples,
    /// where a length is stated at all.
    fn count_doubtful(&mut self, file: File, survey: &mut Survey, pulse: &Pulse) -> Result<(), AudioError> {
        let stated = self.stated_frames();
        self.facts.stated_s = stated.map(|frames| frames as f64 / f64::from(self.rate_hz));
        let is_cheap = matches!(self.facts.passing, Some((Passing::Count { .. }, _)));
        if is_cheap && self.has_regular_packets() {
            let (frames, end) = count_packets(file, self.mode, pulse)?;
            (survey.frames, survey.end) = (Some(frames), Some(end));
        } else if stated.is_some() {
            survey.frames = Some(count_frames(file, self, pulse)?);
        }
        Ok(())
    }

    /// Facts about the whole file, once [`Decoder::survey`] was called.
    pub(super) fn surveyed(&self) -> &Survey {
        &self.survey
    }

    /// Takes over what `old` found out about the same file: before anything was read from here.
    pub(super) fn restart_as(&mut self, old: &Decoder) -> Result<(), AudioError> {
        if let Some(rate_hz) = old.survey.rate_hz.filter(|&rate_hz| rate_hz != self.rate_hz) {
            let from_hz = std::mem::replace(&mut self.rate_hz, rate_hz);
            let mut first = std::mem::take(&mut self.first);
            self.adapt(from_hz, &mut first)?;
            self.first = first;
        }
        self.survey = old.survey.clone();
        Ok(())
    }

    /// Power of the latest block before and after mixing.
    pub(super) fn power(&self) -> MixPower {
        self.power
    }

    /// Rate in Hz of a part of the track that has another rate than the track.
    pub(super) fn other_rate_hz(&self) -> Option<u32> {
        self.other_rate_hz
    }

    /// Seconds that no packet covered so far.
    pub(super) fn missing_s(&self) -> f64 {
        self.missing_s
    }

    /// Opens a track of 16-bit samples that are the words of another stream: [`Decoder::next_words`].
    pub(super) fn open_words(file: File) -> Result<Decoder, AudioError> {
        let (packets, codec, facts) = Packets::open(file, DecoderMode::Plain)?;
        Ok(Decoder::new(packets, codec, facts, DecoderMode::Plain))
    }

    /// Replaces `out` by the next packet's samples as little-endian words of 16 bits; `false` at the end.
    pub(super) fn next_words(&mut self, out: &mut Vec<u8>) -> Result<bool, AudioError> {
        out.clear();
        while let Next::Packet(packet) = self.packets.next()? {
            let (codec, interleaved) = (&mut self.codec, &mut self.interleaved);
            if guarded("decoding a packet", || codec.decode(packet, interleaved))?.is_ok() {
                out.extend(interleaved.iter().flat_map(|x| ((x * 32_768.0) as i16).to_le_bytes()));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rate of the samples in Hz.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// What turns packets into samples.
    pub(super) fn name(&self) -> &'static str {
        self.codec.name()
    }

    /// The track's length in samples: as counted, else as the container states it; `None` where it says nothing or
    /// guesses.
    pub(super) fn stated_frames(&self) -> Option<u64> {
        if self.survey.frames.is_some() {
            return self.survey.frames;
        }
        let frames = if self.facts.counts_exactly { None } else { self.facts.frames }?;
        // An AAC stream may state twice the rate that its core, which is what is decoded, has.
        let rate_hz = u128::from(self.facts.rate_hz.filter(|&rate| rate > 0).unwrap_or(self.rate_hz));
        let scaled = u128::from(frames) * u128::from(self.rate_hz) / rate_hz;
        (scaled > 0).then(|| scaled.min(u64::MAX.into()) as u64)
    }

    /// The length that a counted format states beside its packets, for comparison.
    pub(super) fn claimed_frames(&self) -> Option<u64> {
        if let Some(stated_s) = self.facts.stated_s {
            return Some((stated_s * f64::from(self.rate_hz)) as u64);
        }
        // Without an encoder's delay the figure may be the demuxer's own estimate.
        let claims = self.facts.is_bare_mpeg && self.facts.delay.is_some() && self.mode == DecoderMode::Plain;
        if claims {
            self.facts.frames
        } else if self.survey.frames.is_some() {
            None
        } else {
            self.stated_frames()
        }
    }

    /// Packets that could not be decoded so far.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Why the track ends, once that is known.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref().or(self.survey.end.as_ref())
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
                    self.end_adapter(out)?;
                    return Ok(!out.is_empty());
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
                        Ok(spec) => {
                            self.accept(spec, out)?;
                            // A resampler that has just begun may give nothing yet.
                            if !out.is_empty() {
                                return Ok(true);
                            }
                        }
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

    /// Replaces `out` by the samples of a packet, mixed to mono and at the track's rate.
    fn accept(&mut self, spec: Spec, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Spec { rate_hz, channels, frames } = spec;
        check_rate(rate_hz)?;
        if self.rate_hz == 0 {
            self.rate_hz = rate_hz;
        }
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(AudioError::Channels { found: channels });
        }
        if self.facts.is_pcm16 && channels == 2 && self.dts.find(&self.interleaved) {
            return Err(AudioError::Dts);
        }
        if self.mode == DecoderMode::Original {
            self.interleaved.iter_mut().for_each(|x| *x = quantised(*x));
        }
        mix(&self.interleaved, channels, out);
        self.power = MixPower::of(&self.interleaved, channels, out);
        if let (None, Some(units_per_s)) = (self.facts.passing, self.facts.units_per_s) {
            let start_s = self.time as f64 / units_per_s;
            let gap_s = self.covered_s.map_or(0.0, |covered_s| start_s - covered_s);
            self.missing_s += if gap_s > GAP_S { gap_s } else { 0.0 };
            self.covered_s = Some(start_s + frames as f64 / f64::from(rate_hz));
        }
        self.adapt(rate_hz, out)
    }

    /// Replaces the samples of `out`, at `rate_hz`, by samples at the track's rate.
    fn adapt(&mut self, rate_hz: u32, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let is_own = rate_hz == self.rate_hz;
        if is_own && self.adapter.is_none() {
            return Ok(());
        }
        let mut samples = std::mem::take(out);
        if self.adapter.as_ref().is_none_or(|(from_hz, _)| *from_hz != rate_hz) {
            self.end_adapter(out)?;
            if is_own {
                out.append(&mut samples);
                return Ok(());
            }
            // Made for this file alone: such files are rare.
            let resampling = Resampling::new(rate_hz, self.rate_hz, &Resamplers::new())?;
            self.adapter = Some((rate_hz, resampling));
            self.other_rate_hz = Some(rate_hz);
        }
        if let Some((_, resampling)) = &mut self.adapter {
            resampling.push(&samples)?;
            let wanted = out.len().saturating_add(resampling.computable().min(1 << 24) as usize);
            resampling.pull(out, wanted)?;
        }
        Ok(())
    }

    /// Appends the last samples of a part of another rate.
    fn end_adapter(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        if let Some((_, mut resampling)) = self.adapter.take() {
            resampling.finish()?;
            let wanted = out.len().saturating_add(resampling.computable().min(1 << 24) as usize);
            resampling.pull(out, wanted)?;
        }
        Ok(())
    }
}

/// Facts about a whole file that are found without decoding it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// Exact number of samples at the track's rate, where they were counted.
    pub(super) frames: Option<u64>,
    /// The rate in Hz that most of the track has, where its first frame has another.
    pub(super) rate_hz: Option<u32>,
    /// One rate from start to end: places can be found without decoding up to them.
    is_uniform: bool,
    /// Why the track ends, where its packets were counted.
    end: Option<End>,
    /// Pages of an Ogg file that are lost or damaged.
    pub(super) damaged_pages: u64,
    /// Bytes that belong to no frame or page.
    pub(super) stray_bytes: u64,
}

impl Survey {
    /// Sets length and rate from the samples of each rate in Hz.
    fn set_rates(&mut self, rates: Vec<(u32, u64)>, first_hz: u32) {
        let seconds = |&(rate_hz, samples): &(u32, u64)| samples as f64 / f64::from(rate_hz.max(1));
        let most = rates.iter().max_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        let rate_hz = most.map_or(first_hz, |&(rate_hz, _)| rate_hz);
        // AAC with SBR states half the rate, or the rate, that its decoder gives.
        let rate_hz = if rates.len() < 2 { first_hz } else { rate_hz };
        self.rate_hz = (rate_hz != first_hz).then_some(rate_hz);
        let scaled = |&(from_hz, samples): &(u32, u64)| {
            if rates.len() < 2 {
                samples
            } else {
                (u128::from(samples) * u128::from(rate_hz) / u128::from(from_hz.max(1))) as u64
            }
        };
        self.frames = Some(rates.iter().map(scaled).sum());
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

/// The exact number of samples that a track decodes to, by decoding it.
pub(super) fn count_frames(file: File, decoder: &Decoder, pulse: &Pulse) -> Result<u64, AudioError> {
    let mut counter = Decoder::open(file, decoder.mode)?;
    let (mut frames, mut block) = (0, Vec::new());
    while counter.next_block(&mut block)? {
        pulse.go_on()?;
        frames += block.len() as u64;
    }
    Ok(frames)
}

/// The number of samples that the packets of a track state, and how they end, without decoding them.
fn count_packets(file: File, mode: DecoderMode, pulse: &Pulse) -> Result<(u64, End), AudioError> {
    let (mut packets, _, facts) = Packets::open(file, mode)?;
    let mut frames = 0u64;
    loop {
        pulse.go_on()?;
        match packets.next()? {
            Next::Packet(packet) => frames = frames.saturating_add(facts.frames_of(&packet)),
            Next::End(end) => return Ok((frames, end)),
            Next::Restart => return Ok((frames, End::Regular)),
        }
    }
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
