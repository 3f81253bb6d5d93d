//! Frame header (ISO 11172-3, 2.4.1.3; ISO 13818-3 for the low rates).

use super::FrameError;

/// Joint stereo coding of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct JointStereo {
    /// Middle and side instead of left and right.
    pub(super) middle_side: bool,
    /// Intensity stereo: the upper bands of both channels are in the first.
    pub(super) intensity: bool,
}

/// Header of a Layer III frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layer3Header {
    /// MPEG-1, whose frames have two granules; else MPEG-2 or 2.5, whose frames have one.
    pub(super) is_mpeg1: bool,
    pub(super) rate_hz: u32,
    /// Row of the rate in the tables of scale factor bands.
    pub(super) rate_index: usize,
    pub(super) channels: usize,
    pub(super) joint: JointStereo,
    /// A checksum of 16 bits follows the header.
    pub(super) has_crc: bool,
}

impl Layer3Header {
    /// Reads the header at the start of a frame. Bit rate and padding are not read: the length of the frame is known.
    ///
    /// # Errors
    /// [`FrameError::Header`].
    pub(super) fn parse(frame: &[u8]) -> Result<Layer3Header, FrameError> {
        let &[sync, kind, rates, modes, ..] = frame else { return Err(FrameError::Header) };
        let (version, layer) = (kind >> 3 & 3, kind >> 1 & 3);
        let is_valid = sync == 0xff && kind >> 5 == 7 && version != 1 && layer == 1 && rates >> 4 != 15;
        let column = usize::from(rates >> 2 & 3);
        let Some(&rate_hz) = [44_100, 48_000, 32_000].get(column).filter(|_| is_valid) else {
            return Err(FrameError::Header);
        };
        // Each lower version halves the rates of the one above.
        let row = match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
        let is_joint = modes >> 6 == 1;
        Ok(Layer3Header {
            is_mpeg1: version == 3,
            rate_hz: rate_hz >> row,
            rate_index: 3 * row + column,
            channels: if modes >> 6 == 3 { 1 } else { 2 },
            joint: JointStereo {
                middle_side: is_joint && modes & 0x20 != 0,
                intensity: is_joint && modes & 0x10 != 0,
            },
            has_crc: kind & 1 == 0,
        })
    }

    /// Number of granules of a frame.
    pub(super) fn granules(&self) -> usize {
        if self.is_mpeg1 { 2 } else { 1 }
    }

    /// Position of the side information in the frame, in bytes.
    pub(super) fn side_start(&self) -> usize {
        if self.has_crc { 6 } else { 4 }
    }

    /// Length of the side information in bytes.
    pub(super) fn side_bytes(&self) -> usize {
        match (self.is_mpeg1, self.channels) {
            (true, 1) => 17,
            (true, _) => 32,
            (false, 1) => 9,
            (false, _) => 17,
        }
    }
}
