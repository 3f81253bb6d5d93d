//! Streams of MP3, ADTS and Ogg: where the file is sound, seeking finds the samples of decoding through, and the
//! stated length is the decoded one.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tagwave::audio::{SeekMode, Placement, Resamplers, Warning};
use tagwave_fuzz::{LENGTH, RATE_HZ, abort_on_own_panics, mutation, read, request};

/// Difference of lengths that is allowed, in seconds: a few frames of the lowest rate.
const TOLERANCE_S: f64 = 0.5;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let structured = if seed % 8 != 0 { mutation::mutate(&mut data[..max_size], size, seed) } else { None };
    structured.unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fn is_sound(warnings: &[Warning]) -> bool {
    warnings.iter().all(|warning| {
        matches!(
            warning,
            Warning::Padded { .. } | Warning::Silent | Warning::Quiet { .. } | Warning::FallbackResampler { .. }
        )
    })
}

fuzz_target!(init: abort_on_own_panics(), |data: &[u8]| {
    let resamplers = Resamplers::new();
    let read = |placement, seek_mode| read(data, &request(placement, seek_mode), &resamplers);
    let all = read(Placement::All { stride_samples: LENGTH }, SeekMode::DecodeAll);
    let sought = read(Placement::Centre, SeekMode::Seek);
    let through = read(Placement::Centre, SeekMode::DecodeAll);
    let (Ok(all), Ok(sought), Ok(through)) = (all, sought, through) else { return };
    if ![&all, &sought, &through].iter().all(|found| is_sound(&found.warnings)) {
        return;
    }
    assert_eq!(sought.clips[0].start_samples, through.clips[0].start_samples);
    if all.clips.len() < 60 {
        let (found_s, stated_s) = (all.seconds.unwrap_or(0.0), sought.seconds.unwrap_or(0.0));
        assert!((found_s - stated_s).abs() < TOLERANCE_S, "{found_s} s decoded, {stated_s} s stated");
        assert!(sought.clips[0].start_samples as f64 / f64::from(RATE_HZ) <= found_s);
    }
});
