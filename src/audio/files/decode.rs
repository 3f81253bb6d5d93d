//! Track decoder: packets to mono samples at the track's own rate.

use symphonia::core::errors::Error;

use super::codec::{Codec, CodecError};
use super::dts;
use super::ending::{self, Ending};
use super::frames;
use super::mp3::BlockSpec;
use super::packets::{End, Next, Packets, SkipMethod, TrackFacts, guarded};
use super::rate_change::RateAdapter;
use super::trim::{TrimLengths, Trimmer};
use super::{adts, ogg};
use crate::audio::encoded::EncodedAudio;
use crate::audio::error::{AudioError, PositionLost};
use crate::audio::heartbeat::Heartbeat;
use crate::audio::level::MixPower;
use crate::audio::limits::MAX_CHANNELS;
use crate::audio::mix::mix;
use crate::audio::request::{DecoderMode, check_rate};
use crate::audio::spacing::Spacing;
use crate::audio::warning::Warning;

/// Maximum number of consecutive packets that decode to nothing.
const MAX_FRUITLESS: u64 = 1_000_000;
/// Tolerated difference between stated and decoded length in samples: containers count whole packets.
const TOLERATED_FRAMES: u64 = 4096;

/// Minimum number of samples to skip; fewer are decoded instead.
const MIN_SKIP_SAMPLES: u64 = 1 << 16;

/// Gap between two packets, in seconds, that counts as missing audio.
const GAP_S: f64 = 0.25;

/// Decoder of one track.
pub(in crate::audio) struct Decoder {
    packets: Packets,
    codec: Codec,
    mode: DecoderMode,
    facts: TrackFacts,
    rate_hz: u32,
    trimmer: Trimmer,
    /// Number of samples of the latest block, including those that are not computed.
    span: usize,
    interleaved: Vec<f32>,
    /// First block, decoded on opening because the decoder knows the exact sample rate.
    first: Vec<f32>,
    /// Numbers of samples of `first` and of the latest decoded block, including those that are not computed.
    first_span: usize,
    block_span: usize,
    damaged: u64,
    failure: Option<Error>,
    end: Option<End>,
    /// Time of the first decoded sample, in samples: origin of positions.
    origin: i64,
    /// Time of the latest packet's first sample.
    time: i64,
    adapter: RateAdapter,
    /// Power of the latest block before and after mixing.
    power: MixPower,
    dts: dts::DtsDetector,
    /// Result of [`Decoder::scan`].
    scan: FileScan,
    /// End of the latest packet in seconds, for containers without packet numbers; `missing_s` is the total length of
    /// the gaps between packets.
    covered_s: Option<f64>,
    missing_s: f64,
    /// Position of the latest packet's first sample; `next_position` is the position after it.
    position: u64,
    next_position: u64,
}

impl Decoder {
    /// Opens the first decodable audio track and decodes up to its first samples. In mode [`DecoderMode::Plain`] only
    /// what is heard after resampling to `to_hz` is decoded.
    ///
    /// # Errors
    /// [`AudioError::Refused`], here or when samples are read, if the mode must be [`DecoderMode::FullBand`].
    pub(in crate::audio) fn open(
        input: EncodedAudio,
        mode: DecoderMode,
        to_hz: u32,
    ) -> Result<Decoder, AudioError> {
        let (packets, mut codec, facts) = Packets::open(input, mode)?;
        if mode == DecoderMode::Plain && facts.is_mp3 && facts.is_bare_mpeg {
            codec = codec.heard_at(to_hz);
        }
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
        (opened.first, opened.first_span) = (first, opened.block_span);
        opened.origin = opened.time;
        Ok(opened)
    }

    fn new(packets: Packets, codec: Codec, facts: TrackFacts, mode: DecoderMode) -> Decoder {
        let trimmer = Trimmer::new(TrimLengths::of(&facts, mode));
        Decoder {
            packets,
            codec,
            mode,
            facts,
            rate_hz: 0,
            trimmer,
            span: 0,
            interleaved: Vec::new(),
            first: Vec::new(),
            first_span: 0,
            block_span: 0,
            damaged: 0,
            failure: None,
            end: None,
            adapter: RateAdapter::default(),
            power: MixPower::default(),
            dts: dts::DtsDetector::default(),
            scan: FileScan::default(),
            covered_s: None,
            missing_s: 0.0,
            origin: 0,
            time: 0,
            position: 0,
            next_position: 0,
        }
    }

    /// Skips to sample `wanted` of the track, counted as [`Decoder::next_block`] returns them, or shortly before it.
    /// Returns the position of the next sample, at most `wanted`; `None` if nothing was skipped because the format does
    /// not allow it or too little would be saved.
    ///
    /// # Errors
    /// [`PositionLost`] when the position is unknown and the track must be reopened.
    pub(in crate::audio) fn skip_to(&mut self, wanted: u64) -> Result<Option<u64>, PositionLost> {
        let (Some((skip_method, warm_up)), Some(time_hz)) = (self.facts.skip_method, self.facts.time_hz)
        else {
            return Ok(None);
        };
        // In a track with several rates, positions are not those of its packets.
        if !self.scan.is_uniform || self.adapter.is_active() {
            return Ok(None);
        }
        // Encoder delay of bare MPEG audio, dropped before positions count.
        let raw = wanted + self.trimmer.skip();
        let regular = self.has_regular_packets();
        if time_hz != self.rate_hz || wanted < warm_up + MIN_SKIP_SAMPLES || self.first.is_empty() || !regular
        {
            return Ok(None);
        }
        match skip_method {
            SkipMethod::Seek => {
                let time = self.origin.saturating_add((raw - warm_up) as i64);
                if !self.packets.seek(time).unwrap_or(false) {
                    return Err(PositionLost);
                }
            }
            SkipMethod::Count { .. } => {
                while self.next_position < raw - warm_up {
                    let Ok(Next::Packet(packet)) = self.packets.next() else { return Err(PositionLost) };
                    self.next_position += self.facts.frames_of(&packet);
                }
            }
        }
        self.codec.reset();
        self.first.clear();
        self.dts = dts::DtsDetector::default();
        let (damaged, mut block) = (self.damaged, Vec::new());
        loop {
            if !self.decode_block(&mut block).unwrap_or(false) {
                return Err(PositionLost);
            }
            let position = match skip_method {
                SkipMethod::Seek => u64::try_from(self.time - self.origin).map_err(|_| PositionLost)?,
                SkipMethod::Count { .. } => self.position,
            };
            if position > raw {
                return Err(PositionLost);
            }
            if position + self.block_span as u64 > raw {
                // Errors while the codec settles do not count as damage.
                self.damaged = damaged;
                let (span, start) = self.trimmer.resume(position, &mut block, self.block_span);
                (self.first, self.first_span) = (block, span);
                return Ok(Some(start));
            }
        }
    }

    /// The samples that are computed, as positions after trimming.
    pub(in crate::audio) fn spacing(&self) -> Spacing {
        self.trimmer.spacing()
    }

    /// True if only what is heard is decoded.
    pub(in crate::audio) fn is_limited(&self) -> bool {
        self.codec.is_limited()
    }

    /// Number of samples of the latest block, including those that are not computed.
    pub(in crate::audio) fn span(&self) -> u64 {
        self.span as u64
    }

    /// True if the first packets decode to the expected number of samples.
    fn has_regular_packets(&self) -> bool {
        self.position + self.first_span as u64 == self.next_position
    }

    /// Scans the whole file without decoding: exact number of samples where frame headers tell it, the predominant
    /// sample rate, and damage. Must be called at the start of the track; `input` is that of the decoder.
    ///
    /// # Errors
    /// [`AudioError::Cancelled`], [`AudioError::Io`].
    pub(in crate::audio) fn scan(
        &mut self,
        input: EncodedAudio,
        heartbeat: &Heartbeat,
    ) -> Result<(), AudioError> {
        let mut scan = FileScan { is_uniform: true, ..FileScan::default() };
        if self.facts.is_adts {
            let found = adts::scan(self.packets.bytes(), heartbeat)?;
            scan.stray_bytes = found.stray_bytes;
            let rates = found.frames.iter().map(|&(rate_hz, frames)| (rate_hz, frames * adts::FRAME_SAMPLES));
            scan.is_uniform = found.changes == 0;
            scan.set_rates(rates.collect(), self.rate_hz);
        } else if self.facts.is_bare_mpeg {
            let time = self.time + (self.next_position - self.position) as i64;
            let indexed = if self.facts.is_mp3 { self.packets.index(time, heartbeat)? } else { None };
            match indexed {
                Some(samples) => scan.frames = Some(samples),
                None => {
                    let (mut packets, _, facts) = Packets::open(input, self.mode)?;
                    let mut rates: Vec<(u32, u64)> = Vec::new();
                    while let Next::Packet(packet) = packets.next()? {
                        heartbeat.check()?;
                        let samples = facts.frames_of(&packet);
                        let rate_hz = frames::spec(&packet.data).map_or(self.rate_hz, |(rate_hz, _)| rate_hz);
                        match rates.iter_mut().find(|(known, _)| *known == rate_hz) {
                            Some((_, sum)) => *sum += samples,
                            None => rates.push((rate_hz, samples)),
                        }
                    }
                    scan.is_uniform = rates.len() < 2;
                    scan.set_rates(rates, self.rate_hz);
                    // Irregular frames are counted, but positions are reached by decoding up to them.
                    scan.is_uniform &= !self.facts.is_mp3;
                }
            }
        } else if self.packets.is_ogg() {
            let found = ogg::scan(self.packets.bytes(), heartbeat)?;
            (scan.damaged_pages, scan.stray_bytes) = (found.damaged_pages, found.stray_bytes);
            scan.end = found.is_cut.then(|| End::Broken { reason: "it ends inside a page".into() });
            // Times that do not begin at 0 come from a longer stream that this one was cut from.
            if found.is_irregular || self.origin != 0 {
                scan.frames = Some(count_frames(input, self, heartbeat)?);
                scan.is_uniform = false;
            }
        } else {
            let ending =
                ending::examine(self.packets.bytes(), self.packets.format()).map_err(AudioError::Io)?;
            if ending != Ending::Plausible {
                self.count_doubtful(input, &mut scan, heartbeat)?;
            }
            if ending == Ending::Cut && matches!(scan.end, None | Some(End::Regular)) {
                scan.end = Some(End::Broken { reason: "it ends inside its audio data".into() });
            }
        }
        if !self.packets.is_ogg() {
            scan.frames = scan.frames.map(|frames| self.trimmer.lengths().trimmed(frames));
        }
        self.scan = scan;
        Ok(())
    }

    /// Counts a track whose stated length is doubtful: its packets if their lengths are known, else its samples if a
    /// length is stated.
    fn count_doubtful(
        &mut self,
        input: EncodedAudio,
        scan: &mut FileScan,
        heartbeat: &Heartbeat,
    ) -> Result<(), AudioError> {
        let stated = self.stated_frames();
        self.facts.stated_s = stated.map(|frames| frames as f64 / f64::from(self.rate_hz));
        let is_cheap = matches!(self.facts.skip_method, Some((SkipMethod::Count { .. }, _)));
        if is_cheap && self.has_regular_packets() {
            let (frames, end) = count_packets(input, self.mode, heartbeat)?;
            (scan.frames, scan.end) = (Some(frames), Some(end));
        } else if stated.is_some() {
            scan.frames = Some(count_frames(input, self, heartbeat)?);
        }
        Ok(())
    }

    /// Predominant sample rate in Hz, found by [`Decoder::scan`], if the first frame has another.
    pub(in crate::audio) fn predominant_rate_hz(&self) -> Option<u32> {
        self.scan.rate_hz
    }

    /// Takes over the scan of `old`, a decoder of the same file. Must be called before the first read.
    pub(in crate::audio) fn restart_as(&mut self, old: &Decoder) -> Result<(), AudioError> {
        if let Some(rate_hz) = old.scan.rate_hz.filter(|&rate_hz| rate_hz != self.rate_hz) {
            let from_hz = std::mem::replace(&mut self.rate_hz, rate_hz);
            let mut first = std::mem::take(&mut self.first);
            self.adapter.adapt(from_hz, rate_hz, &mut first)?;
            self.first = first;
        }
        self.scan = old.scan.clone();
        Ok(())
    }

    /// Power of the latest block before and after mixing.
    pub(in crate::audio) fn power(&self) -> MixPower {
        self.power
    }

    /// Warnings about damage so far.
    pub(in crate::audio) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.damaged > 0 {
            warnings.push(Warning::DamagedPackets { count: self.damaged });
        }
        if let Some(End::Broken { reason }) = self.end.as_ref().or(self.scan.end.as_ref()) {
            warnings.push(Warning::Truncated { reason: reason.clone() });
        }
        if let Some(to_hz) = self.adapter.other_rate_hz() {
            warnings.push(Warning::RateChange { from_hz: self.rate_hz, to_hz });
        }
        let counted = [
            (self.scan.damaged_pages, "damaged or missing pages"),
            (self.scan.stray_bytes, "bytes without audio"),
        ];
        for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
            warnings.push(Warning::Damaged { extent: format!("{count} {what}") });
        }
        if self.missing_s > 0.0 {
            warnings.push(Warning::Damaged { extent: format!("{:.2} s without audio", self.missing_s) });
        }
        warnings
    }

    /// Warning if the stated length differs from `found` samples.
    pub(in crate::audio) fn length_warning(&self, found: u64) -> Option<Warning> {
        let stated = self.claimed_frames()?;
        let rate_hz = f64::from(self.rate_hz);
        (stated.abs_diff(found) > TOLERATED_FRAMES).then(|| Warning::LengthWrong {
            stated_s: stated as f64 / rate_hz,
            found_s: found as f64 / rate_hz,
        })
    }

    /// Opens a track of 16-bit samples that store another stream, for [`Decoder::next_words`].
    pub(super) fn open_words(input: EncodedAudio) -> Result<Decoder, AudioError> {
        let (packets, codec, facts) = Packets::open(input, DecoderMode::FullBand)?;
        Ok(Decoder::new(packets, codec, facts, DecoderMode::FullBand))
    }

    /// Replaces `out` by the next packet's samples as little-endian 16-bit words; `false` at the end.
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
    pub(in crate::audio) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Name of the codec implementation.
    pub(in crate::audio) fn name(&self) -> &'static str {
        self.codec.name()
    }

    /// Length of the track in samples: as counted, else as the container states it; `None` if unknown or an estimate.
    pub(in crate::audio) fn stated_frames(&self) -> Option<u64> {
        if self.scan.frames.is_some() {
            return self.scan.frames;
        }
        let frames = if self.facts.counts_exactly { None } else { self.facts.frames }?;
        // An AAC stream may state twice the rate of its core, and only the core is decoded.
        let rate_hz = u128::from(self.facts.rate_hz.filter(|&rate| rate > 0).unwrap_or(self.rate_hz));
        let scaled = u128::from(frames) * u128::from(self.rate_hz) / rate_hz;
        (scaled > 0).then(|| scaled.min(u64::MAX.into()) as u64)
    }

    /// Stated length in samples of a format whose packets are counted, for comparison.
    fn claimed_frames(&self) -> Option<u64> {
        if let Some(stated_s) = self.facts.stated_s {
            return Some((stated_s * f64::from(self.rate_hz)) as u64);
        }
        // Without a stated encoder delay, the length may be the demuxer's estimate.
        let claims =
            self.facts.is_bare_mpeg && self.facts.delay.is_some() && self.mode != DecoderMode::Original;
        if claims {
            self.facts.frames
        } else if self.scan.frames.is_some() {
            None
        } else {
            self.stated_frames()
        }
    }

    /// Number of packets that could not be decoded so far.
    pub(in crate::audio) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Replaces `out` by the next samples, of which there may be none; `false` at the end. [`Decoder::span`] then is
    /// their number including those that are not computed.
    pub(in crate::audio) fn next_block(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        out.clear();
        let span = if !self.first.is_empty() {
            std::mem::swap(out, &mut self.first);
            self.first_span
        } else if self.end.is_some() || !self.decode_block(out)? {
            self.trimmer.end(out);
            self.span = out.len();
            return Ok(!out.is_empty());
        } else {
            self.block_span
        };
        self.span = self.trimmer.trim(out, span);
        Ok(true)
    }

    /// Replaces `out` by the next packet's samples, mixed to mono; `false` at the end.
    fn decode_block(&mut self, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        for _packet in 0..MAX_FRUITLESS {
            match self.packets.next()? {
                Next::End(end) => {
                    self.end = Some(end);
                    self.adapter.end(out)?;
                    self.block_span = out.len();
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
                    self.position = self.next_position;
                    self.next_position += self.facts.frames_of(&packet);
                    let (codec, interleaved) = (&mut self.codec, &mut self.interleaved);
                    match guarded("decoding a packet", || codec.decode(packet, interleaved))? {
                        Ok(BlockSpec { frames: 0, .. }) => {}
                        Ok(spec) => {
                            self.accept(spec, out)?;
                            // A resampler may return nothing for its first input.
                            if !out.is_empty() {
                                return Ok(true);
                            }
                        }
                        Err(CodecError::Refused(fault)) => {
                            return Err(AudioError::Refused { reason: fault.to_string() });
                        }
                        Err(CodecError::Damaged(error)) => {
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

    /// Mixes the samples of a packet to mono and resamples them to the track's rate.
    fn accept(&mut self, spec: BlockSpec, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let BlockSpec { rate_hz, channels, frames, step } = spec;
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
            self.interleaved.iter_mut().for_each(|x| *x = round_to_i16(*x));
        }
        mix(&self.interleaved, channels, out);
        let measured = self.codec.power();
        self.power = measured.unwrap_or_else(|| MixPower::of(&self.interleaved, channels, out));
        if let (None, Some(units_per_s)) = (self.facts.skip_method, self.facts.units_per_s) {
            let start_s = self.time as f64 / units_per_s;
            let gap_s = self.covered_s.map_or(0.0, |covered_s| start_s - covered_s);
            self.missing_s += if gap_s > GAP_S { gap_s } else { 0.0 };
            self.covered_s = Some(start_s + frames as f64 / f64::from(rate_hz));
        }
        if step == 2 {
            // The decoder refuses changes of the rate.
            self.trimmer.set_half_rate();
            self.block_span = frames;
            return Ok(());
        }
        self.adapter.adapt(rate_hz, self.rate_hz, out)?;
        self.block_span = out.len();
        Ok(())
    }
}

/// Properties of a whole file, found without decoding it.
#[derive(Clone, Debug, Default, PartialEq)]
struct FileScan {
    /// Exact number of samples at the track's rate, if counted.
    frames: Option<u64>,
    /// Predominant sample rate in Hz, if the first frame has another.
    rate_hz: Option<u32>,
    /// True if positions can be reached without decoding up to them.
    is_uniform: bool,
    /// Reason for the end of the track, if its packets were counted.
    end: Option<End>,
    /// Number of lost or damaged Ogg pages.
    damaged_pages: u64,
    /// Number of bytes outside frames or pages.
    stray_bytes: u64,
}

impl FileScan {
    /// Sets length and rate from the number of samples of each rate in Hz.
    fn set_rates(&mut self, rates: Vec<(u32, u64)>, first_hz: u32) {
        let seconds = |&(rate_hz, samples): &(u32, u64)| samples as f64 / f64::from(rate_hz.max(1));
        let most = rates.iter().max_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        let rate_hz = most.map_or(first_hz, |&(rate_hz, _)| rate_hz);
        // AAC with SBR states either the decoded rate or half of it.
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

/// Counts the samples of a track by decoding it.
pub(in crate::audio) fn count_frames(
    input: EncodedAudio,
    decoder: &Decoder,
    heartbeat: &Heartbeat,
) -> Result<u64, AudioError> {
    let mode = if decoder.mode == DecoderMode::Plain { DecoderMode::FullBand } else { decoder.mode };
    let mut counter = Decoder::open(input, mode, decoder.rate_hz)?;
    let (mut frames, mut block) = (0, Vec::new());
    while counter.next_block(&mut block)? {
        heartbeat.check()?;
        frames += counter.span();
    }
    Ok(frames)
}

/// Counts the samples of a track from its packets, without decoding, and returns how they end.
fn count_packets(
    input: EncodedAudio,
    mode: DecoderMode,
    heartbeat: &Heartbeat,
) -> Result<(u64, End), AudioError> {
    let (mut packets, _, facts) = Packets::open(input, mode)?;
    let mut frames = 0u64;
    loop {
        heartbeat.check()?;
        match packets.next()? {
            Next::Packet(packet) => frames = frames.saturating_add(facts.frames_of(&packet)),
            Next::End(end) => return Ok((frames, end)),
            Next::Restart => return Ok((frames, End::Regular)),
        }
    }
}

/// Rounds to 16 bits (ties to even) with saturation; NaN stays.
fn round_to_i16(x: f32) -> f32 {
    (x * 32_768.0).round_ties_even().clamp(-32_768.0, 32_767.0) / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_rounded_to_16_bits_with_saturation() {
        let level = 1.0 / 32_768.0;
        for (x, y) in [(0.4, 0.0), (0.5, 0.0), (1.5, 2.0), (-0.6, -1.0)] {
            assert_eq!(round_to_i16(x * level), y * level);
        }
        assert_eq!(round_to_i16(1.0), 32_767.0 / 32_768.0);
        assert_eq!(round_to_i16(-3.0), -1.0);
        assert!(round_to_i16(f32::NAN).is_nan());
    }
}
