//! MP3 decoder on nanomp3, which is faster than symphonia's.

use std::collections::VecDeque;

use nanomp3_core::{DecodeError, MAX_SAMPLES_PER_FRAME};
use symphonia::core::packet::Packet;

/// Number of recent frames that determine the state of a decoder: the bit reservoir reaches back 511 bytes.
const REMEMBERED: usize = 32;

/// Sample rate, channels and length of a decoded packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockSpec {
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
    /// Samples per channel.
    pub(super) frames: usize,
}

/// nanomp3 with the most recent packets, so that another decoder can take over.
pub(super) struct Mp3 {
    decoder: Box<nanomp3_core::Decoder>,
    recent: VecDeque<Packet>,
    /// True after a seek: the bit reservoir of the first frames may be missing.
    may_lack_bits: bool,
}

impl Mp3 {
    pub(super) const NAME: &'static str = "nanomp3";

    pub(super) fn new() -> Mp3 {
        Mp3 { decoder: Box::default(), recent: VecDeque::new(), may_lack_bits: false }
    }

    /// Resets the decoder after a seek.
    pub(super) fn reset(&mut self) {
        *self.decoder = nanomp3_core::Decoder::new();
        self.recent.clear();
        self.may_lack_bits = true;
    }

    /// Replaces `interleaved` by the samples of the frame; `None` for a frame that this decoder refuses.
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

    /// Keeps a decoded packet.
    pub(super) fn remember(&mut self, packet: Packet) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(packet);
    }

    /// Most recent decoded packets, at most [`REMEMBERED`].
    pub(super) fn recent(&self) -> impl Iterator<Item = &Packet> {
        self.recent.iter()
    }
}
