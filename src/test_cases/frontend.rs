//! Test cases of the front end: log_mel and clip_stats.

use super::{TestCase, fill, fill_scaled};
use crate::kernels::{ClipStats, FrameCount, LogMel, Op, Padding, Scope};
use crate::tensor::HostTensor;

pub(super) fn cases() -> Vec<TestCase> {
    let mut cases = Vec::new();
    for (case, samples, padding, left, frames, exponent, count) in [
        ("reflect, squared", 1361, Padding::Reflect, 256, FrameCount::Centred, 2, 7),
        ("more bands than threads", 1361, Padding::Reflect, 256, FrameCount::Centred, 2, 71),
        ("reflect, even number of frames", 1280, Padding::Reflect, 256, FrameCount::Centred, 1, 7),
        ("zeros, 256 left", 1361, Padding::Zeros, 256, FrameCount::Same, 1, 7),
        ("zeros, 208 left", 1201, Padding::Zeros, 208, FrameCount::Same, 1, 7),
        ("shortest clip", 512, Padding::Reflect, 256, FrameCount::Centred, 2, 7),
    ] {
        let op = Op::LogMel(LogMel {
            hop_length: 256,
            left_samples: left,
            padding,
            frames,
            exponent,
            power_floor: 1e-10,
        });
        let (window, filters) = (fill([512], 1), bands(count));
        let x =
            HostTensor::from_fn([2, samples], |i| (i as f32 * 0.37).sin() + 0.1 * ((i % 251) as f32 / 251.0));
        cases.push(TestCase::new(case, op, vec![x], vec![window, filters]));
    }
    for (case, shape, scale) in [
        ("primes", [2, 1, 5, 7], 60.0),
        ("one value", [3, 1, 1, 1], 60.0),
        ("a clip", [2, 1, 96, 1366], 60.0),
        ("far below the floor", [2, 1, 13, 31], 500.0),
    ] {
        for scope in [Scope::Clip, Scope::Batch] {
            let op = Op::ClipStats(ClipStats { range_db: 80.0, scope });
            let case = format!("{case}, {scope:?}");
            cases.push(TestCase::new(&case, op, vec![fill_scaled(shape, 2, scale)], vec![]));
        }
    }
    let silent = HostTensor::from_fn([1, 1, 5, 300], |_| -100.0);
    let op = Op::ClipStats(ClipStats { range_db: 80.0, scope: Scope::Clip });
    cases.push(TestCase::new("silence", op, vec![silent], vec![]));
    cases
}

/// `count` overlapping bands of unequal width, as sparse as mel filters are; the last one is empty.
fn bands(count: usize) -> HostTensor {
    let weights = fill([count, 257], 3);
    HostTensor::from_fn([count, 257], |i| {
        let (band, bin) = (i / 257, i % 257);
        let first = band * (210 / count);
        let inside = (first..first + 11 * (band % 7 + 1)).contains(&bin) && band + 1 < count;
        if inside { weights.data()[i].abs() + 0.01 } else { 0.0 }
    })
}
