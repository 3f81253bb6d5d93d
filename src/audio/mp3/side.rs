//! Side information (ISO 11172-3, 2.4.1.7): where the main data of each granule lies and how it is coded.

use super::FrameError;
use super::bits::BitReader;
use super::header::Layer3Header;
use super::tables::{LONG_BANDS, SHORT_BANDS};

/// Lines of a granule.
pub(super) const LINES: usize = 576;

/// Block of a granule: the window of its transform.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum BlockType {
    #[default]
    Long,
    /// Long, before short blocks.
    Start,
    /// Three short transforms.
    Short,
    /// As `Short`, but the two lowest subbands are long.
    Mixed,
    /// Long, after short blocks.
    Stop,
}

impl BlockType {
    /// True if the upper subbands have short transforms.
    pub(super) fn is_short(self) -> bool {
        matches!(self, BlockType::Short | BlockType::Mixed)
    }
}

/// Side information of one channel of a granule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct GranuleInfo {
    /// Length in bits of scale factors and lines.
    pub(super) bits: usize,
    /// Number of lines coded in pairs.
    pub(super) pair_lines: usize,
    pub(super) global_gain: u8,
    pub(super) scale_code: u16,
    pub(super) block: BlockType,
    pub(super) tables: [u8; 3],
    /// First lines of the second and third region, each with its own code.
    pub(super) region_starts: [usize; 2],
    pub(super) subblock_gains: [u8; 3],
    pub(super) preflag: bool,
    /// Scale factors count twice.
    pub(super) doubles_scales: bool,
    /// Code B of the lines in fours, else A.
    pub(super) fours_b: bool,
}

/// Side information of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SideInfo {
    /// Number of bytes before this frame's main data where its first granule begins.
    pub(super) main_data_begin: usize,
    /// Groups of scale factors of the second granule that are those of the first, by channel.
    pub(super) shared_scales: [[bool; 4]; 2],
    /// By granule and channel.
    pub(super) granules: [[GranuleInfo; 2]; 2],
}

impl SideInfo {
    /// Reads the side information.
    ///
    /// # Errors
    /// [`FrameError::SideInfo`] for reserved values, [`FrameError::Short`] for a frame that ends in it.
    pub(super) fn parse(header: &Layer3Header, frame: &[u8]) -> Result<SideInfo, FrameError> {
        let start = header.side_start();
        let data = frame.get(start..start + header.side_bytes()).ok_or(FrameError::Short)?;
        let mut bits = BitReader::new(data, 0);
        let mut side = SideInfo::default();
        if header.is_mpeg1 {
            side.main_data_begin = bits.read(9) as usize;
            bits.read(if header.channels == 1 { 5 } else { 3 });
            for shared in side.shared_scales.iter_mut().take(header.channels) {
                shared.iter_mut().for_each(|shared| *shared = bits.flag());
            }
        } else {
            side.main_data_begin = bits.read(8) as usize;
            bits.read(if header.channels == 1 { 1 } else { 2 });
        }
        for granule in side.granules.iter_mut().take(header.granules()) {
            for info in granule.iter_mut().take(header.channels) {
                *info = GranuleInfo::parse(header, &mut bits)?;
            }
        }
        Ok(side)
    }
}

impl GranuleInfo {
    fn parse(header: &Layer3Header, bits: &mut BitReader) -> Result<GranuleInfo, FrameError> {
        let mut info = GranuleInfo {
            bits: bits.read(12) as usize,
            pair_lines: 2 * bits.read(9) as usize,
            global_gain: bits.read(8) as u8,
            scale_code: bits.read(if header.is_mpeg1 { 4 } else { 9 }) as u16,
            ..GranuleInfo::default()
        };
        if info.pair_lines > LINES {
            return Err(FrameError::SideInfo);
        }
        let long_bands = &LONG_BANDS[header.rate_index];
        if bits.flag() {
            let (kind, is_mixed) = (bits.read(2), bits.flag());
            info.block = match (kind, is_mixed) {
                (1, _) => BlockType::Start,
                (2, false) => BlockType::Short,
                (2, true) => BlockType::Mixed,
                (3, _) => BlockType::Stop,
                _ => return Err(FrameError::SideInfo),
            };
            info.tables = [bits.read(5) as u8, bits.read(5) as u8, 0];
            info.subblock_gains = std::array::from_fn(|_| bits.read(3) as u8);
            let first =
                if info.block.is_short() { 3 * SHORT_BANDS[header.rate_index][3] } else { long_bands[8] };
            info.region_starts = [first.into(), LINES];
        } else {
            info.tables = std::array::from_fn(|_| bits.read(5) as u8);
            let first = bits.read(4) as usize + 1;
            let second = first + bits.read(3) as usize + 1;
            let line = |band: usize| long_bands.get(band).map_or(LINES, |&line| line.into());
            info.region_starts = [line(first), line(second)];
        }
        info.preflag = header.is_mpeg1 && bits.flag();
        info.doubles_scales = bits.flag();
        info.fours_b = bits.flag();
        Ok(info)
    }
}
