//! Codecs: packets to interleaved samples.

use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::frames;
use super::mp3::{BlockSpec, FullMp3, HeardMp3};
use crate::audio::level::MixPower;
use crate::audio::mp3::FrameError;

/// Decoder of one track.
///
/// MP3 may be decoded at a limited bandwidth ([`Codec::heard_at`]) until a frame is refused; the track must then be
/// opened again.
///
/// A faster decoder may be used instead of symphonia's until it refuses a packet. symphonia's decoder then decodes the
/// most recent packets again, which puts it in the right state, and takes over.
pub(super) struct Codec {
    decoder: Box<dyn AudioDecoder>,
    faster: Option<FullMp3>,
    heard: Option<HeardMp3>,
    /// Parameters to recreate the decoder with when rate or channels change, for MPEG audio.
    renewal: Option<Renewal>,
}

struct Renewal {
    params: AudioCodecParameters,
    options: AudioDecoderOptions,
    last: Option<(u32, usize)>,
}

impl Codec {
    pub(super) fn new(decoder: Box<dyn AudioDecoder>, faster: Option<FullMp3>) -> Codec {
        Codec { decoder, faster, heard: None, renewal: None }
    }

    /// Decodes only what is heard after resampling to `to_hz`. For MP3.
    pub(super) fn heard_at(self, to_hz: u32) -> Codec {
        Codec { heard: Some(HeardMp3::new(to_hz)), faster: None, ..self }
    }

    /// Lets the decoder be recreated when rate or channels change between packets.
    pub(super) fn renewed_by(self, params: AudioCodecParameters, options: AudioDecoderOptions) -> Codec {
        Codec { renewal: Some(Renewal { params, options, last: None }), ..self }
    }

    /// Decodes with symphonia, whose MPEG decoders refuse a packet with another rate or other channels.
    fn decode_slowly(&mut self, packet: &Packet) -> Result<(), Error> {
        if let Some(Renewal { params, options, last }) = &mut self.renewal
            && let Some(spec) = frames::spec(&packet.data)
            && last.replace(spec).is_some_and(|last| last != spec)
        {
            self.decoder = symphonia::default::get_codecs().make_audio_decoder(params, options)?;
        }
        self.decoder.decode(packet).map(|_| ())
    }

    /// Decodes a packet into `interleaved`.
    ///
    /// # Errors
    /// [`CodecError::Refused`] if the track must be opened again without [`Codec::heard_at`], else that of a damaged
    /// packet.
    pub(super) fn decode(
        &mut self,
        packet: Packet,
        interleaved: &mut Vec<f32>,
    ) -> Result<BlockSpec, CodecError> {
        if let Some(heard) = &mut self.heard {
            return heard.decode(&packet.data, interleaved).map_err(CodecError::Refused);
        }
        self.decode_all(packet, interleaved).map_err(CodecError::Damaged)
    }

    /// Decodes all channels of a packet in full bandwidth.
    fn decode_all(&mut self, packet: Packet, interleaved: &mut Vec<f32>) -> Result<BlockSpec, Error> {
        if let Some(mp3) = &mut self.faster {
            if let Some(spec) = mp3.decode(&packet, interleaved) {
                mp3.remember(packet);
                return Ok(spec);
            }
            let recent: Vec<Packet> = mp3.recent().cloned().collect();
            self.faster = None;
            for packet in &recent {
                // These were decoded before; errors do not count again.
                let _ = self.decode_slowly(packet);
            }
        }
        self.decode_slowly(&packet)?;
        let buffer = self.decoder.last_decoded();
        buffer.copy_to_vec_interleaved(interleaved);
        let (rate_hz, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
        Ok(BlockSpec { rate_hz, channels, frames: buffer.frames(), step: 1 })
    }

    /// True if only what is heard is decoded.
    pub(super) fn is_limited(&self) -> bool {
        self.heard.is_some()
    }

    /// Power of the latest packet before and after mixing, if the decoder measured it.
    pub(super) fn power(&self) -> Option<MixPower> {
        self.heard.as_ref().map(HeardMp3::power)
    }

    /// Name of the decoder in use: `tagwave`, `tagwave-full` or `symphonia`.
    pub(super) fn name(&self) -> &'static str {
        match (&self.heard, &self.faster) {
            (Some(_), _) => HeardMp3::NAME,
            (None, Some(_)) => FullMp3::NAME,
            (None, None) => "symphonia",
        }
    }

    /// Resets the decoder after a seek.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        if let Some(mp3) = &mut self.faster {
            mp3.reset();
        }
        if let Some(heard) = &mut self.heard {
            heard.reset();
        }
    }
}

/// Error of a packet.
pub(super) enum CodecError {
    /// The packet cannot be decoded at a limited bandwidth.
    Refused(FrameError),
    Damaged(Error),
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};

    use crate::audio::DecoderMode;
    use crate::audio::files::packets::{Next, Packets};

    /// Tolerance between the decoders: both compute in f32, in a different order.
    const TOLERANCE: f32 = 1e-5;

    /// Samples of each packet by our decoder with symphonia as fallback, or by symphonia alone; `None` for a refused packet.
    fn packets(path: &Path, faster: bool) -> Vec<Option<Vec<f32>>> {
        let (mut packets, mut codec, _) =
            Packets::open(File::open(path).unwrap().into(), DecoderMode::Plain).unwrap();
        assert_eq!(codec.name(), "tagwave-full");
        if !faster {
            codec.faster = None;
        }
        let mut all = Vec::new();
        while let Ok(Next::Packet(packet)) = packets.next() {
            let mut samples = Vec::new();
            all.push(codec.decode(packet, &mut samples).is_ok().then_some(samples));
        }
        all
    }

    /// Number of packets that differ between the decoders, and of all packets.
    fn differing(path: &Path) -> (usize, usize) {
        let (fast, slow) = (packets(path, true), packets(path, false));
        assert_eq!(fast.len(), slow.len());
        let same = |a: &Option<Vec<f32>>, b: &Option<Vec<f32>>| match (a, b) {
            (Some(a), Some(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= TOLERANCE)
            }
            (None, None) => true,
            _ => false,
        };
        (fast.iter().zip(&slow).filter(|(a, b)| !same(a, b)).count(), fast.len())
    }

    fn music() -> Option<Vec<PathBuf>> {
        let Some(folder) = std::env::var_os("TAGWAVE_FIXTURES") else {
            assert!(std::env::var_os("REQUIRE_FIXTURES").is_none(), "TAGWAVE_FIXTURES is not set");
            println!("not run: TAGWAVE_FIXTURES is not set (audio)");
            return None;
        };
        let names = ["actionable", "cute", "dubstep", "thejazzpiano"];
        Some(names.map(|name| Path::new(&folder).join(format!("audio/bensound-{name}.mp3"))).to_vec())
    }

    #[test]
    fn the_faster_decoder_gives_the_same_samples() {
        for path in music().unwrap_or_default() {
            let (differing, all) = differing(&path);
            assert!(differing == 0 && all > 1000, "{}: {differing} of {all}", path.display());
        }
    }

    /// Damaged bits may decode differently, but only near the damage.
    #[test]
    fn damage_stays_where_it_is() {
        const HITS: usize = 60;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.mp3");
        for (seed, music) in (1u32..).zip(music().unwrap_or_default()) {
            let mut bytes = fs::read(music).unwrap();
            let mut state = seed;
            let mut random = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as usize
            };
            for _ in 0..HITS {
                // Keep the head of the file, which selects the decoder.
                let place = 8192 + random() % (bytes.len() - 8192);
                bytes[place] = random() as u8;
            }
            fs::write(&path, &bytes).unwrap();
            let (differing, all) = differing(&path);
            assert!(differing <= 2 * HITS && all > 1000, "{differing} of {all}");
        }
    }
}
