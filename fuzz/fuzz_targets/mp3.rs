//! Streams of MP3, as heard and in full: of a sound file both give clips at the same places.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tagwave::audio::{ClipRequest, DecoderMode, Placement, Resamplers, SeekMode};
use tagwave_fuzz::{LENGTH, Prediction, abort_on_own_panics, mutation, read, request};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let structured = if seed % 4 != 0 { mutation::mutate(&mut data[..max_size], size, seed) } else { None };
    structured.unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

/// Start and length of each clip.
fn places(found: &Prediction) -> Vec<(u64, usize)> {
    found.clips.iter().map(|clip| (clip.start_samples, clip.audio_samples)).collect()
}

fuzz_target!(init: abort_on_own_panics(), |data: &[u8]| {
    let resamplers = Resamplers::new();
    for placement in [Placement::Centre, Placement::At(1.5), Placement::All { stride_samples: LENGTH }] {
        let heard = request(placement, SeekMode::Seek);
        let full = ClipRequest { decoder: DecoderMode::FullBand, ..heard };
        let (heard, full) = (read(data, &heard, &resamplers), read(data, &full, &resamplers));
        if let (Ok(heard), Ok(full)) = (heard, full)
            && full.warnings.is_empty()
        {
            assert_eq!(places(&heard), places(&full));
        }
    }
});
