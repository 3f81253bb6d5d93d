//! Any bytes as an audio file: every clip, with and without seeking.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tagwave::audio::{SeekMode, Placement, Resamplers};
use tagwave_fuzz::{LENGTH, abort_on_own_panics, mutation, read, request};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let structured = if seed % 2 == 0 { mutation::mutate(&mut data[..max_size], size, seed) } else { None };
    structured.unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(init: abort_on_own_panics(), |data: &[u8]| {
    let resamplers = Resamplers::new();
    for (placement, seek_mode) in [
        (Placement::Centre, SeekMode::Seek),
        (Placement::At(2.5), SeekMode::Seek),
        (Placement::All { stride_samples: LENGTH }, SeekMode::DecodeAll),
    ] {
        let _ = read(data, &request(placement, seek_mode), &resamplers);
    }
});
