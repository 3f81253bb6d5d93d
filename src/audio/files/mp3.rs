//! MP3 decoders on [`crate::audio::mp3`]: of what is heard, and of everything.

use std::collections::VecDeque;

use symphonia::core::packet::Packet;

use crate::audio::level::MixPower;
use crate::audio::mp3::{FrameError, Layer3Decoder};

/// Number of recent frames that determine the state of a decoder: the bit reservoir reaches back 511 bytes.
const REMEMBERED: usize = 32;

/// Sample rate, channels and length of a decoded packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockSpec {
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
    /// Samples per channel, including those that are not computed.
    pub(super) frames: usize,
    /// Distance of the computed samples.
    pub(super) step: usize,
}

/// Decoder of what is heard at a rate.
pub(super) struct HeardMp3 {
    decoder: Layer3Decoder,
    samples: [Vec<f32>; 2],
    power: MixPower,
}

impl HeardMp3 {
    pub(super) const NAME: &'static str = "tagwave";

    pub(super) fn new(to_hz: u32) -> HeardMp3 {
        let decoder = Layer3Decoder::mono_at(to_hz);
        HeardMp3 { decoder, samples: Default::default(), power: MixPower::default() }
    }

    /// Resets the decoder after a seek.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
    }

    /// Replaces `mono` by the samples of the frame.
    ///
    /// # Errors
    /// [`FrameError`] for a frame that must be decoded by another decoder, as all others of its track.
    pub(super) fn decode(&mut self, frame: &[u8], mono: &mut Vec<f32>) -> Result<BlockSpec, FrameError> {
        self.samples[0].clear();
        let spec = self.decoder.decode(frame, &mut self.samples)?;
        std::mem::swap(mono, &mut self.samples[0]);
        self.power = MixPower::new(spec.power.channels, spec.power.mono);
        let step = if spec.is_half_rate { 2 } else { 1 };
        Ok(BlockSpec { rate_hz: spec.rate_hz, channels: 1, frames: spec.samples, step })
    }

    /// Power of the latest frame before and after mixing.
    pub(super) fn power(&self) -> MixPower {
        self.power
    }
}

/// Decoder of all channels and frequencies with the most recent packets, so that another decoder can take over.
pub(super) struct FullMp3 {
    decoder: Layer3Decoder,
    channels: [Vec<f32>; 2],
    recent: VecDeque<Packet>,
}

impl FullMp3 {
    pub(super) const NAME: &'static str = "tagwave-full";

    pub(super) fn new() -> FullMp3 {
        FullMp3 { decoder: Layer3Decoder::full(), channels: Default::default(), recent: VecDeque::new() }
    }

    /// Resets the decoder after a seek.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        self.recent.clear();
    }

    /// Replaces `interleaved` by the samples of the frame; `None` for a frame that this decoder refuses.
    pub(super) fn decode(&mut self, packet: &Packet, interleaved: &mut Vec<f32>) -> Option<BlockSpec> {
        self.channels.iter_mut().for_each(Vec::clear);
        let spec = self.decoder.decode(&packet.data, &mut self.channels).ok()?;
        let [left, right] = &self.channels;
        interleaved.clear();
        if spec.channels == 1 {
            interleaved.extend_from_slice(left);
        } else {
            interleaved.extend(left.iter().zip(right).flat_map(|(&left, &right)| [left, right]));
        }
        Some(BlockSpec { rate_hz: spec.rate_hz, channels: spec.channels, frames: spec.samples, step: 1 })
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
