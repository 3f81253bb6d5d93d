//! Scale factors, and the scaling of decoded lines with them.

use super::FrameError;
use super::bits::BitReader;
use super::header::Layer3Header;
use super::side::{BlockType, GranuleInfo, LINES};
use super::tables::{LONG_BANDS, PREEMPHASIS, SCALE_BITS, SCALE_COUNTS, SHORT_BANDS};

/// Scale factors of a granule: 22 of long bands, 13 times three of short bands, or both in mixed blocks.
pub(super) const FACTORS: usize = 39;
/// Groups of long bands whose scale factors two granules may share.
const SHARED_GROUPS: [(usize, usize); 4] = [(0, 6), (6, 11), (11, 16), (16, 21)];

/// Scale factors of one channel.
#[derive(Clone, Debug)]
pub(super) struct ScaleFactors {
    /// Those that are not transmitted are zero.
    pub(super) factors: [u8; FACTORS],
    /// Largest value of each factor in MPEG-2; as an intensity position it has no meaning.
    pub(super) largest: [u8; FACTORS],
    /// Pre-emphasis, which MPEG-2 states with the scale factors.
    preflag: bool,
}

impl Default for ScaleFactors {
    fn default() -> ScaleFactors {
        ScaleFactors { factors: [0; FACTORS], largest: [0; FACTORS], preflag: false }
    }
}

impl ScaleFactors {
    /// Reads the scale factors of a granule of MPEG-1; those of the groups in `shared` stay.
    pub(super) fn read_mpeg1(&mut self, bits: &mut BitReader, info: &GranuleInfo, shared: [bool; 4]) {
        let [low, high] = SCALE_BITS[usize::from(info.scale_code & 15)].map(u32::from);
        let mut read = |from: usize, to: usize, length| {
            for factor in &mut self.factors[from..to] {
                *factor = bits.read(length) as u8;
            }
        };
        match info.block {
            BlockType::Short => {
                read(0, 18, low);
                read(18, 36, high);
                self.factors[36..].fill(0);
            }
            BlockType::Mixed => {
                read(0, 17, low);
                read(17, 35, high);
                self.factors[35..].fill(0);
            }
            BlockType::Long | BlockType::Start | BlockType::Stop => {
                for ((from, to), shared) in SHARED_GROUPS.into_iter().zip(shared) {
                    if !shared {
                        read(from, to, if from < 11 { low } else { high });
                    }
                }
                self.factors[21..].fill(0);
            }
        }
        self.preflag = info.preflag;
    }

    /// Reads the scale factors of a granule of MPEG-2; `positions` if they are intensity positions.
    pub(super) fn read_mpeg2(&mut self, bits: &mut BitReader, info: &GranuleInfo, positions: bool) {
        let code = u32::from(info.scale_code);
        let (range, lengths) = if positions {
            match code >> 1 {
                half @ 0..180 => (3, [half / 36, half % 36 / 6, half % 6, 0]),
                half @ 180..244 => (4, [(half - 180) >> 4, (half - 180) >> 2 & 3, (half - 180) & 3, 0]),
                half => (5, [(half - 244) / 3, (half - 244) % 3, 0, 0]),
            }
        } else {
            match code {
                0..400 => (0, [code / 80, code / 16 % 5, code / 4 % 4, code % 4]),
                400..500 => (1, [(code - 400) / 20, (code - 400) / 4 % 5, (code - 400) % 4, 0]),
                _ => (2, [(code - 500) / 3, (code - 500) % 3, 0, 0]),
            }
        };
        let row = match info.block {
            BlockType::Short => 1,
            BlockType::Mixed => 2,
            BlockType::Long | BlockType::Start | BlockType::Stop => 0,
        };
        self.factors.fill(0);
        self.largest.fill(0);
        let mut at = 0;
        for (&count, length) in SCALE_COUNTS[range][row].iter().zip(lengths) {
            for _factor in 0..count {
                self.factors[at] = bits.read(length) as u8;
                self.largest[at] = ((1u32 << length) - 1) as u8;
                at += 1;
            }
        }
        self.preflag = range == 2;
    }

    /// Scales the first `count` lines with the gains of their bands and with 2^(`quarters` / 4).
    pub(super) fn scale(
        &self,
        header: &Layer3Header,
        info: &GranuleInfo,
        quarters: i32,
        count: usize,
        lines: &mut [f32; LINES],
    ) {
        let gain = i32::from(info.global_gain) - 210 + quarters;
        let shift = if info.doubles_scales { 2 } else { 1 };
        for (i, band) in bands(header, info.block).enumerate() {
            if band.start >= count {
                break;
            }
            let factor = i32::from(self.factors[i.min(FACTORS - 1)]);
            let gain = match band.window {
                Some(window) => gain - 8 * i32::from(info.subblock_gains[window]) - (factor << shift),
                None => {
                    let emphasis = if self.preflag { i32::from(PREEMPHASIS[band.index]) } else { 0 };
                    gain - ((factor + emphasis) << shift)
                }
            };
            let gain = exp2_quarters(gain);
            lines[band.start..band.end.min(count)].iter_mut().for_each(|line| *line *= gain);
        }
    }
}

/// Scale factor band: the lines `start..end`, in the order of the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineBand {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Index among the long or the short bands.
    pub(super) index: usize,
    /// Window of a short block.
    pub(super) window: Option<usize>,
}

/// Number of long bands of a mixed block.
pub(super) fn mixed_long_bands(header: &Layer3Header) -> usize {
    if header.is_mpeg1 { 8 } else { 6 }
}

/// The bands of a block, in the order of their scale factors and lines.
pub(super) fn bands(header: &Layer3Header, block: BlockType) -> impl Iterator<Item = LineBand> {
    let (long, short) = (&LONG_BANDS[header.rate_index], &SHORT_BANDS[header.rate_index]);
    let (longs, first_short) = match block {
        BlockType::Short => (0, 0),
        BlockType::Mixed => (mixed_long_bands(header), 3),
        BlockType::Long | BlockType::Start | BlockType::Stop => (22, 13),
    };
    let long_bands = (0..longs).map(|index| LineBand {
        start: long[index].into(),
        end: long[index + 1].into(),
        index,
        window: None,
    });
    let short_bands = (first_short..13).flat_map(|index| {
        let (start, width) = (usize::from(short[index]), usize::from(short[index + 1] - short[index]));
        (0..3).map(move |window| {
            let start = 3 * start + window * width;
            LineBand { start, end: start + width, index, window: Some(window) }
        })
    });
    long_bands.chain(short_bands)
}

/// Reads the scale factors of a granule.
///
/// # Errors
/// [`FrameError::Overrun`] if they do not fit the granule's data, which ends at bit `end`.
pub(super) fn read_factors(
    bits: &mut BitReader,
    header: &Layer3Header,
    info: &GranuleInfo,
    (shared, positions): ([bool; 4], bool),
    end: usize,
    factors: &mut ScaleFactors,
) -> Result<(), FrameError> {
    if header.is_mpeg1 {
        factors.read_mpeg1(bits, info, shared);
    } else {
        factors.read_mpeg2(bits, info, positions);
    }
    if bits.position() > end { Err(FrameError::Overrun) } else { Ok(()) }
}

/// 2^(`quarters` / 4), for the exponents of normal numbers.
pub(super) fn exp2_quarters(quarters: i32) -> f32 {
    const FRACTIONS: [f32; 4] = [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_9];
    let exponent = ((quarters >> 2) + 127).clamp(1, 254) as u32;
    FRACTIONS[(quarters & 3) as usize] * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_powers() {
        for quarters in -400..200 {
            let expected = (f64::from(quarters) / 4.0).exp2();
            assert!((f64::from(exp2_quarters(quarters)) / expected - 1.0).abs() < 2e-7, "{quarters}");
        }
    }

    #[test]
    fn bands_cover_all_lines() {
        for rate_index in 0..9 {
            let header = Layer3Header {
                is_mpeg1: rate_index < 3,
                rate_hz: 44_100,
                rate_index,
                channels: 2,
                joint: Default::default(),
                has_crc: false,
            };
            for block in [BlockType::Long, BlockType::Short, BlockType::Mixed] {
                // The decoder refuses mixed blocks at 8 kHz, where the long bands end between two short ones.
                if rate_index == 8 && block == BlockType::Mixed {
                    continue;
                }
                let mut at = 0;
                for band in bands(&header, block) {
                    assert_eq!(band.start, at, "{rate_index} {block:?}");
                    at = band.end;
                }
                assert_eq!(at, LINES);
            }
        }
    }
}
