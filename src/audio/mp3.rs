//! MP3 frames to samples, faster than symphonia's decoder.

use std::collections::VecDeque;

use nanomp3_core::{DecodeError, MAX_SAMPLES_PER_FRAME};
use symphonia::core::packet::Packet;

use super::codec::BlockSpec;

/// Frames that a decoder's state depends on: its bits may begin 511 bytes before a frame.
const REMEMBERED: usize = 32;

pub(super) struct Mp3 {
    decoder: Box<nanomp3_core::Decoder>,
    recent: VecDeque<Packet>,
    /// After a seek, the bits of the first frames may begin before what was read.
    may_lack_bits: bool,
}

impl Mp3 {
    pub(super) const NAME: &'static str = "nanomp3";

    pub(super) fn new() -> Mp3 {
        Mp3 { decoder: Box::default(), recent: VecDeque::new(), may_lack_bits: false }
    }

    /// The next packets come from another place.
    pub(super) fn reset(&mut self) {
        *self.decoder = nanomp3_core::Decoder::new();
        self.recent.clear();
        self.may_lack_bits = true;
    }

    /// Replaces `interleaved` by the frame's samples; `None` for what is not taken here.
    pub(super) fn decode(&mut self, packet: &Packet, interleaved: &mut Vec<f32>) -> Option<BlockSpec> {
        interleaved.resize(MAX_SAMPLES_PER_FRAME, 0.0);
        let (read, result) = self.decoder.decode(&packet.data, interleaved);
        let spec = match result {
            Ok(info) => {
                let channels = usize::from(info.channels.num());
                BlockSpec { rate_hz: info.sample_rate, channels, frames: info.samples_produced }
            }
            Err(DecodeError::ReservoirUnavailable(_)) if self.may_lack_bits => BlockSpec::default(),
            Err(_) => return None,
        };
        if spec.frames > 0 {
            self.may_lack_bits = false;
        }
        interleaved.truncate(spec.frames * spec.channels);
        (read == packet.data.len()).then_some(spec)
    }

    /// Keeps a packet that was decoded.
    pub(super) fn remember(&mut self, packet: Packet) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(packet);
    }

    /// The latest packets that were decoded: as many as a decoder's state depends on.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Packet> {
        self.recent.iter()
    }
}
