//! Packets to interleaved samples.

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::mp3::Mp3;

/// What a packet decoded to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
    /// Samples per channel.
    pub(super) frames: usize,
}

/// A decoder in the middle of a track.
///
/// symphonia's decide what the samples are. A faster decoder takes its place as long as it takes every packet; at the
/// first that it refuses, symphonia's gets the packets before, which leave it in the state that it would have had.
pub(super) struct Codec {
    decoder: Box<dyn AudioDecoder>,
    faster: Option<Mp3>,
}

impl Codec {
    pub(super) fn new(decoder: Box<dyn AudioDecoder>, faster: Option<Mp3>) -> Codec {
        Codec { decoder, faster }
    }

    /// Replaces `interleaved` by the packet's samples.
    pub(super) fn decode(&mut self, packet: Packet, interleaved: &mut Vec<f32>) -> Result<Spec, Error> {
        if let Some(mp3) = &mut self.faster {
            if let Some(spec) = mp3.decode(&packet, interleaved) {
                mp3.remember(packet);
                return Ok(spec);
            }
            for packet in mp3.recent() {
                // These were decoded once: what symphonia says of them is not news.
                let _ = self.decoder.decode(packet);
            }
            self.faster = None;
        }
        let buffer = self.decoder.decode(&packet)?;
        buffer.copy_to_vec_interleaved(interleaved);
        let (rate_hz, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
        Ok(Spec { rate_hz, channels, frames: buffer.frames() })
    }

    /// The next packets come from another place.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        if let Some(mp3) = &mut self.faster {
            mp3.reset();
        }
    }
}
