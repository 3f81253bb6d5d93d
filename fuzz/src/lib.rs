//! Parts that the fuzz targets share: reading clips from bytes, panics that count, and mutations that keep the structure
//! of MP3 and Ogg streams.

use std::io::Cursor;

use tagwave::audio::{SeekMode, AudioError, Clip, ClipReader, ClipRequest, ExternalDecoder, Placement, Resamplers, Source, Warning};

pub mod mutation;

/// Rate of the clips in Hz and their length in samples.
pub const RATE_HZ: u32 = 12_000;
pub const LENGTH: usize = 3_000;
/// Clips that are read of one input.
const MAX_CLIPS: usize = 64;

/// Ends the process on a panic of this project. Panics of demuxers and decoders are caught and become errors of the
/// file, which is tested by reading further.
pub fn abort_on_own_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |location| location.file());
        if !file.contains("symphonia") {
            usual(panic);
            std::process::abort();
        }
    }));
}

/// Clips of an input, warnings and length in seconds.
pub struct Prediction {
    pub clips: Vec<Clip>,
    pub warnings: Vec<Warning>,
    pub seconds: Option<f64>,
}

pub fn request(placement: Placement, seek_mode: SeekMode) -> ClipRequest {
    ClipRequest { placement, seek_mode, external_decoder: ExternalDecoder::Disabled, ..ClipRequest::new(RATE_HZ, LENGTH) }
}

/// Reads the clips of `data` without an external decoder.
pub fn read(data: &[u8], request: &ClipRequest, resamplers: &Resamplers) -> Result<Prediction, AudioError> {
    let source = Source::reader(Cursor::new(data.to_vec()));
    let mut reader = ClipReader::open(source, request, resamplers)?;
    let mut clips = Vec::new();
    for clip in reader.by_ref().take(MAX_CLIPS) {
        let clip = clip?;
        assert_eq!(clip.samples.len(), LENGTH);
        assert!(clip.audio_samples <= LENGTH);
        clips.push(clip);
    }
    Ok(Prediction { clips, warnings: reader.warnings(), seconds: reader.track_seconds() })
}
