//! Decodes an audio file to mono f32 samples at its own rate, little-endian, on standard output; rate, length and
//! warnings on standard error. Nothing but the built-in decoders is used.
//!
//! `cargo run --example decode -- song.mp3 > song.f32`

use std::error::Error;
use std::io::{BufWriter, Write};

use tagwave::audio::{ClipReader, ClipRequest, ExternalDecoder, Placement, Resamplers, SeekMode, Source};

/// Length of the pieces that the track is read in: at most half of one is missing at the end.
const PIECE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: decode FILE")?;
    let resamplers = Resamplers::new();
    let request = |rate_hz| ClipRequest {
        placement: Placement::All { stride_samples: PIECE },
        seek_mode: SeekMode::DecodeAll,
        external_decoder: ExternalDecoder::Disabled,
        ..ClipRequest::new(rate_hz, PIECE)
    };
    // Opened once to learn the rate: at that rate nothing is resampled.
    let rate_hz = ClipReader::open(Source::path(&path), &request(12_000), &resamplers)?.track_rate_hz();
    let mut reader = ClipReader::open(Source::path(&path), &request(rate_hz), &resamplers)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = 0;
    for clip in reader.by_ref() {
        let clip = clip?;
        // The last piece ends with the track, and overlaps the one before.
        let overlap = written - clip.start_samples.min(written);
        let samples = clip.samples.get(overlap as usize..clip.audio_samples).unwrap_or_default();
        for sample in samples {
            out.write_all(&sample.to_le_bytes())?;
        }
        written += samples.len() as u64;
    }
    out.flush()?;
    eprintln!("{rate_hz} Hz, {} s", reader.track_seconds().unwrap_or(0.0));
    reader.warnings().iter().for_each(|warning| eprintln!("{warning}"));
    Ok(())
}
