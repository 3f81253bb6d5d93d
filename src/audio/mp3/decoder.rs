//! Frames to samples.

use pulp::Arch;

use super::FrameError;
use super::bandwidth::{Bandwidth, HALF_SUBBANDS, SUBBANDS};
use super::bits::BitReader;
use super::filterbank::{FilterBank, FilterTables};
use super::header::Layer3Header;
use super::huffman::{Powers, decode_lines};
use super::scale::{ScaleFactors, read_factors};
use super::side::{BlockType, GranuleInfo, LINES, SideInfo};
use super::stereo::to_left_right;
use super::tables::SHORT_BANDS;

/// Maximum number of bytes before a frame's own data that its main data may begin.
const RESERVOIR_BYTES: usize = 511;
/// Number of stereo frames per one whose power is measured.
const MEASURED_OF: u64 = 8;

/// Decoder of Layer III frames to planar samples.
pub(in crate::audio) struct Layer3Decoder {
    arch: Arch,
    selection: DecodedPart,
    /// Rate of the frames in Hz, and the bandwidth it leads to.
    spec: Option<(u32, Bandwidth)>,
    banks: Option<Banks>,
    powers: Powers,
    /// The last bytes of main data, then those of the frame.
    main: Vec<u8>,
    scales: [ScaleFactors; 2],
    lines: Box<[[f32; LINES]; 2]>,
    /// Frames since the start or a reset.
    frames: u64,
}

/// Decoded channels and frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum DecodedPart {
    /// All subbands of all channels.
    All,
    /// The mean of the channels, as heard at a rate in Hz.
    MonoAt(u32),
}

/// Filter banks, one per channel of the output.
enum Banks {
    Half(Box<FilterTables<HALF_SUBBANDS>>, Box<[FilterBank<HALF_SUBBANDS>; 1]>),
    Full(Box<FilterTables<SUBBANDS>>, Box<[FilterBank<SUBBANDS>; 2]>),
}

/// Sums of squares of the channels' lines (their mean) and of the lines of their mean, of measured granules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::audio) struct SpectralPower {
    pub(in crate::audio) channels: f64,
    pub(in crate::audio) mono: f64,
}

/// Properties of a decoded frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::audio) struct FrameSpec {
    pub(in crate::audio) rate_hz: u32,
    /// Channels of the output.
    pub(in crate::audio) channels: usize,
    /// Samples per channel at the frame's rate.
    pub(in crate::audio) samples: usize,
    /// Only every second sample is computed, the first and so on.
    pub(in crate::audio) is_half_rate: bool,
    /// Power, if the frame was measured.
    pub(in crate::audio) power: SpectralPower,
}

/// Place of a granule's data in the main data, in bits.
#[derive(Clone, Copy)]
struct GranulePlace {
    granule: usize,
    channel: usize,
    start: usize,
}

impl Layer3Decoder {
    /// Decoder of all channels at full bandwidth.
    pub(in crate::audio) fn full() -> Layer3Decoder {
        Layer3Decoder::new(DecodedPart::All)
    }

    /// Decoder of the mean of the channels, as heard after resampling to `to_hz`.
    pub(in crate::audio) fn mono_at(to_hz: u32) -> Layer3Decoder {
        Layer3Decoder::new(DecodedPart::MonoAt(to_hz))
    }

    fn new(selection: DecodedPart) -> Layer3Decoder {
        Layer3Decoder {
            arch: Arch::new(),
            selection,
            spec: None,
            banks: None,
            powers: Powers::new(),
            main: Vec::new(),
            scales: Default::default(),
            lines: Box::new([[0.0; LINES]; 2]),
            frames: 0,
        }
    }

    /// Forgets all frames.
    pub(in crate::audio) fn reset(&mut self) {
        self.banks = None;
        self.main.clear();
        self.frames = 0;
    }

    /// Decodes a frame and appends its samples to `out`, one vector per channel.
    ///
    /// # Errors
    /// [`FrameError`]; the decoder must not be used again.
    pub(in crate::audio) fn decode(
        &mut self,
        frame: &[u8],
        out: &mut [Vec<f32>; 2],
    ) -> Result<FrameSpec, FrameError> {
        let header = Layer3Header::parse(frame)?;
        let side = SideInfo::parse(&header, frame)?;
        let bandwidth = self.prepare(&header)?;
        let missing = self.fill(&header, &side, frame)?;
        let mut power = SpectralPower::default();
        // Bits of main data before the first one that exists, in a file that was cut.
        let mut start = -(8 * missing as i64);
        let is_mono = self.selection != DecodedPart::All;
        for granule in 0..header.granules() {
            let bits: usize = side.granules[granule].iter().map(|info| info.bits).sum();
            if let Ok(place) = usize::try_from(start) {
                if place + bits > 8 * self.main.len() {
                    return Err(FrameError::Overrun);
                }
                let granule = GranulePlace { granule, channel: 0, start: place };
                if is_mono {
                    let is_measured = self.frames.is_multiple_of(MEASURED_OF) && granule.granule == 0;
                    let measured = self.add_mono(&header, &side, granule, bandwidth, is_measured)?;
                    power = if is_measured { measured } else { power };
                } else {
                    self.add_channels(&header, &side, granule)?;
                }
            }
            start += bits as i64;
            self.synthesise(if is_mono { 1 } else { header.channels }, out);
        }
        self.frames += 1;
        Ok(FrameSpec {
            rate_hz: header.rate_hz,
            channels: if is_mono { 1 } else { header.channels },
            samples: header.granules() * LINES,
            is_half_rate: bandwidth.is_half_rate,
            power,
        })
    }

    /// Makes the filter banks for the rate of the first frame.
    fn prepare(&mut self, header: &Layer3Header) -> Result<Bandwidth, FrameError> {
        let bandwidth = match (self.selection, self.spec) {
            (DecodedPart::All, _) => Bandwidth::FULL,
            (_, Some((rate_hz, bandwidth))) if rate_hz == header.rate_hz => bandwidth,
            (_, Some(_)) => return Err(FrameError::RateChange),
            (DecodedPart::MonoAt(to_hz), None) => Bandwidth::heard(header.rate_hz, to_hz),
        };
        self.spec = Some((header.rate_hz, bandwidth));
        if self.banks.is_none() {
            let (arch, subbands) = (self.arch, bandwidth.subbands);
            self.banks = Some(if bandwidth.is_half_rate {
                Banks::Half(Box::new(FilterTables::new()), Box::new([FilterBank::new(arch, subbands)]))
            } else {
                let banks = std::array::from_fn(|_| FilterBank::new(arch, subbands));
                Banks::Full(Box::new(FilterTables::new()), Box::new(banks))
            });
        }
        Ok(bandwidth)
    }

    /// Appends the frame's main data to what is kept of the frames before, and returns how many bytes are missing.
    fn fill(&mut self, header: &Layer3Header, side: &SideInfo, frame: &[u8]) -> Result<usize, FrameError> {
        let start = header.side_start() + header.side_bytes();
        let data = frame.get(start..).ok_or(FrameError::Short)?;
        let kept = side.main_data_begin.min(self.main.len());
        self.main.drain(..self.main.len() - kept.min(RESERVOIR_BYTES));
        self.main.extend_from_slice(data);
        Ok(side.main_data_begin - kept)
    }

    /// Decodes and scales the lines of a channel below `limit`, and returns how many may differ from zero.
    fn read(
        &mut self,
        header: &Layer3Header,
        side: &SideInfo,
        place: GranulePlace,
        (quarters, limit): (i32, usize),
    ) -> Result<usize, FrameError> {
        let info = &side.granules[place.granule][place.channel];
        let start = self.read_scales(header, side, place)?;
        let mut bits = BitReader::new(&self.main, start);
        let end = place.start + info.bits;
        let lines = &mut self.lines[place.channel];
        let limit = line_limit(header, info, limit);
        let count = decode_lines(&mut bits, info, end, &self.powers, limit, lines)?;
        self.scales[place.channel].scale(header, info, quarters, count, lines);
        Ok(count)
    }

    /// Reads the scale factors of a channel, and returns the position of its lines in bits.
    fn read_scales(
        &mut self,
        header: &Layer3Header,
        side: &SideInfo,
        place: GranulePlace,
    ) -> Result<usize, FrameError> {
        let GranulePlace { granule, channel, start } = place;
        let info = &side.granules[granule][channel];
        if info.block == BlockType::Mixed && header.rate_index == 8 {
            // The long bands end between two short ones.
            return Err(FrameError::SideInfo);
        }
        let mut bits = BitReader::new(&self.main, start);
        let shared = if granule == 1 { side.shared_scales[channel] } else { [false; 4] };
        let positions = channel == 1 && header.joint.intensity;
        let scales = &mut self.scales[channel];
        read_factors(&mut bits, header, info, (shared, positions), start + info.bits, scales)?;
        Ok(bits.position())
    }

    /// Decodes a granule of all channels and adds them to their filter banks.
    fn add_channels(
        &mut self,
        header: &Layer3Header,
        side: &SideInfo,
        mut place: GranulePlace,
    ) -> Result<(), FrameError> {
        let infos = &side.granules[place.granule];
        let quarters = if header.joint.middle_side { -2 } else { 0 };
        for (channel, info) in infos.iter().enumerate().take(header.channels) {
            place.channel = channel;
            self.read(header, side, place, (quarters, LINES))?;
            place.start += info.bits;
        }
        if header.channels == 2 {
            to_left_right(header, &infos[1], &self.scales[1], &mut self.lines);
        }
        for (channel, info) in infos.iter().enumerate().take(header.channels) {
            self.add(header, info.block, channel, channel);
        }
        Ok(())
    }

    /// Decodes what is heard of a granule's mean and adds it to the first filter bank.
    fn add_mono(
        &mut self,
        header: &Layer3Header,
        side: &SideInfo,
        mut place: GranulePlace,
        bandwidth: Bandwidth,
        is_measured: bool,
    ) -> Result<SpectralPower, FrameError> {
        let infos = &side.granules[place.granule];
        let limit = bandwidth.subbands * super::filterbank::SLOTS;
        if header.channels == 1 {
            self.read(header, side, place, (0, limit))?;
            self.add(header, infos[0].block, 0, 0);
            return Ok(SpectralPower::default());
        }
        let other = GranulePlace { channel: 1, start: place.start + infos[0].bits, ..place };
        if has_plain_middle(header, infos) {
            let count = self.read(header, side, place, (-2, limit))?;
            let mut power = SpectralPower::default();
            if is_measured {
                let side_count = self.read(header, side, other, (-2, limit))?;
                power.mono = energy(&self.lines[0][..count]);
                power.channels = power.mono + energy(&self.lines[1][..side_count]);
            } else if place.granule == 0 && side.granules[1] != [GranuleInfo::default(); 2] {
                // The second granule may share the scale factors.
                let needed = side.shared_scales[1].contains(&true);
                if needed && !has_plain_middle(header, &side.granules[1]) {
                    self.read_scales(header, side, other)?;
                }
            }
            self.add(header, infos[0].block, 0, 0);
            return Ok(power);
        }
        // The mean of intensity stereo in MPEG-1 is half of what is coded, whatever the position.
        let is_plain = !header.joint.middle_side && (!header.joint.intensity || header.is_mpeg1);
        let quarters = if header.joint.middle_side { -6 } else { -4 };
        let left = self.read(header, side, place, (quarters, limit))?;
        place = other;
        // Intensity stereo begins after the last nonzero line of the right channel, so all its lines are read.
        let right = self.read(header, side, place, (quarters, if is_plain { limit } else { LINES }))?;
        if !is_plain {
            to_left_right(header, &infos[1], &self.scales[1], &mut self.lines);
        }
        let count = if is_plain { left.max(right) } else { LINES };
        Ok(self.add_mean(header, [infos[0].block, infos[1].block], count, is_measured))
    }

    /// Adds the sum of the first `count` lines of both channels to the first filter bank, and returns their power.
    fn add_mean(
        &mut self,
        header: &Layer3Header,
        blocks: [BlockType; 2],
        count: usize,
        is_measured: bool,
    ) -> SpectralPower {
        let mut power = SpectralPower::default();
        let [left, right] = &mut *self.lines;
        let (left, right) = (&mut left[..count], &mut right[..count]);
        if is_measured {
            power.channels = 2.0 * (energy(left) + energy(right));
            // Lines of different transforms cannot be compared; uncorrelated channels lose half of their power.
            power.mono = power.channels / 2.0;
        }
        if blocks[0] == blocks[1] {
            left.iter_mut().zip(right).for_each(|(left, right)| *left += *right);
            if is_measured {
                power.mono = energy(left);
            }
            self.add(header, blocks[0], 0, 0);
        } else {
            self.add(header, blocks[0], 0, 0);
            self.add(header, blocks[1], 1, 0);
        }
        power
    }

    /// Adds the lines of `channel` to filter bank `bank`.
    fn add(&mut self, header: &Layer3Header, block: BlockType, channel: usize, bank: usize) {
        let lines = &mut self.lines[channel];
        if block.is_short() {
            reorder(header, block, lines);
        }
        match &mut self.banks {
            Some(Banks::Half(tables, banks)) => banks[0].add(tables, block, lines),
            Some(Banks::Full(tables, banks)) => banks[bank.min(1)].add(tables, block, lines),
            None => {}
        }
    }

    fn synthesise(&mut self, channels: usize, out: &mut [Vec<f32>; 2]) {
        match &mut self.banks {
            Some(Banks::Half(tables, banks)) => banks[0].synthesise(tables, &mut out[0]),
            Some(Banks::Full(tables, banks)) => {
                for (bank, out) in banks.iter_mut().zip(out).take(channels) {
                    bank.synthesise(tables, out);
                }
            }
            None => {}
        }
    }
}

/// True if the mean of the channels is the middle channel alone.
fn has_plain_middle(header: &Layer3Header, infos: &[GranuleInfo; 2]) -> bool {
    header.joint.middle_side && !header.joint.intensity && infos[0].block == infos[1].block
}

/// Number of coded lines that those below `limit` need: short blocks have them by bands.
fn line_limit(header: &Layer3Header, info: &GranuleInfo, limit: usize) -> usize {
    if !info.block.is_short() {
        return limit;
    }
    let bands = SHORT_BANDS[header.rate_index].iter();
    bands.map(|&line| 3 * usize::from(line)).find(|&line| line >= limit).unwrap_or(LINES)
}

/// Sum of squares.
fn energy(lines: &[f32]) -> f64 {
    let (vectors, rest) = lines.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for vector in vectors {
        sums.iter_mut().zip(vector).for_each(|(sum, line)| *sum += line * line);
    }
    f64::from(sums.iter().sum::<f32>() + rest.iter().map(|line| line * line).sum::<f32>())
}

/// Brings the lines of short blocks from the order of their bands and windows into the order of frequency, where the
/// lines of the three windows alternate.
fn reorder(header: &Layer3Header, block: BlockType, lines: &mut [f32; LINES]) {
    let coded = *lines;
    let first = if block == BlockType::Mixed { 3 } else { 0 };
    for band in SHORT_BANDS[header.rate_index][first..].windows(2) {
        let (start, end) = (3 * usize::from(band[0]), 3 * usize::from(band[1]));
        let (coded, width) = (&coded[start..end], (end - start) / 3);
        for (i, three) in lines[start..end].as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *three = [coded[i], coded[width + i], coded[2 * width + i]];
        }
    }
}
