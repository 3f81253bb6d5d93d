//! Packets to interleaved samples.

use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::frames;
use super::mp3::Mp3;

/// What a packet decoded to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockSpec {
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
    /// Parameters to make the decoder anew with, and the rate and channels of its last packet, where these may change:
    /// in MPEG audio.
    renewal: Option<Renewal>,
}

struct Renewal {
    params: AudioCodecParameters,
    options: AudioDecoderOptions,
    last: Option<(u32, usize)>,
}

impl Codec {
    pub(super) fn new(decoder: Box<dyn AudioDecoder>, faster: Option<Mp3>) -> Codec {
        Codec { decoder, faster, renewal: None }
    }

    /// The same decoder for a stream whose rate and channels may change from packet to packet.
    pub(super) fn renewed_by(self, params: AudioCodecParameters, options: AudioDecoderOptions) -> Codec {
        Codec { renewal: Some(Renewal { params, options, last: None }), ..self }
    }

    /// Decodes with symphonia, whose decoders of MPEG audio refuse a packet of another rate or of other channels.
    fn decode_slowly(&mut self, packet: &Packet) -> Result<(), Error> {
        if let Some(Renewal { params, options, last }) = &mut self.renewal
            && let Some(spec) = frames::spec(&packet.data)
            && last.replace(spec).is_some_and(|last| last != spec)
        {
            self.decoder = symphonia::default::get_codecs().make_audio_decoder(params, options)?;
        }
        self.decoder.decode(packet).map(|_| ())
    }

    /// Replaces `interleaved` by the packet's samples.
    pub(super) fn decode(&mut self, packet: Packet, interleaved: &mut Vec<f32>) -> Result<BlockSpec, Error> {
        if let Some(mp3) = &mut self.faster {
            if let Some(spec) = mp3.decode(&packet, interleaved) {
                mp3.remember(packet);
                return Ok(spec);
            }
            let recent: Vec<Packet> = mp3.recent().cloned().collect();
            self.faster = None;
            for packet in &recent {
                // These were decoded once: what symphonia says of them is not news.
                let _ = self.decode_slowly(packet);
            }
        }
        self.decode_slowly(&packet)?;
        let buffer = self.decoder.last_decoded();
        buffer.copy_to_vec_interleaved(interleaved);
        let (rate_hz, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
        Ok(BlockSpec { rate_hz, channels, frames: buffer.frames() })
    }

    /// What decodes: `symphonia`, or what takes its place.
    pub(super) fn name(&self) -> &'static str {
        if self.faster.is_some() { Mp3::NAME } else { "symphonia" }
    }

    /// The next packets come from another place.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        if let Some(mp3) = &mut self.faster {
            mp3.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};

    use crate::audio::decode::DecoderMode;
    use crate::audio::packets::{Next, Packets};

    /// Samples that may differ: both decoders compute in f32, in another order.
    const TOLERANCE: f32 = 1e-5;

    /// The samples of each packet, as nanomp3 gives them with symphonia behind it, or symphonia alone; `None` for a
    /// packet that is refused.
    fn packets(path: &Path, faster: bool) -> Vec<Option<Vec<f32>>> {
        let (mut packets, mut codec, _) =
            Packets::open(File::open(path).unwrap(), DecoderMode::Plain).unwrap();
        assert_eq!(codec.name(), "nanomp3");
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

    /// Packets of two runs over a file that are not the same.
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

    /// Where bits are wrong the two may read them differently, there and nowhere else.
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
                // Not what is in front of the first frames, which says how the file is read.
                let place = 8192 + random() % (bytes.len() - 8192);
                bytes[place] = random() as u8;
            }
            fs::write(&path, &bytes).unwrap();
            let (differing, all) = differing(&path);
            assert!(differing <= 2 * HITS && all > 1000, "{differing} of {all}");
        }
    }
}
