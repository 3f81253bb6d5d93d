//! Reference implementation of `log_mel.wgsl`: the discrete Fourier transform by its definition.

use std::f64::consts::TAU;

use super::larger::larger;
use crate::kernels::{LogMel, Padding};
use crate::tensor::HostTensor;

pub(super) fn log_mel(
    op: &LogMel,
    x: &HostTensor,
    window: &HostTensor,
    filters: &HostTensor,
    frames: usize,
) -> Vec<f32> {
    let n_fft = window.data().len();
    let [bands, bins] = [0, 1].map(|axis| filters.shape().extent(axis));
    let circle: Vec<(f64, f64)> = (0..n_fft).map(|k| (TAU * k as f64 / n_fft as f64).sin_cos()).collect();
    let mut y = vec![0f32; x.shape().extent(0) * bands * frames];
    for n in 0..x.shape().extent(0) {
        for t in 0..frames {
            let start = (t * op.hop_length) as i64 - op.left_samples as i64;
            let frame: Vec<f64> = (0..n_fft)
                .map(|s| f64::from(window.data()[s]) * sample(op.padding, x.row(n), start + s as i64))
                .collect();
            let power: Vec<f64> = (0..bins).map(|k| bin_power(&frame, &circle, k)).collect();
            for m in 0..bands {
                let band = &filters.data()[m * bins..(m + 1) * bins];
                // Zero times infinity is no part of a band.
                let weighed = band.iter().zip(&power).filter(|(w, _)| **w != 0.0);
                let mel = as_f32_range(weighed.map(|(&w, &p)| f64::from(w) * as_f32_range(p)).sum());
                let mel = as_f32_range(mel.powi(op.exponent as i32));
                let db = 10.0 * larger(mel, f64::from(op.power_floor)).log10();
                y[(n * bands + m) * frames + t] = db as f32;
            }
        }
    }
    y
}

/// Rounds to the range of f32, so that all executors refuse the same clips.
fn as_f32_range(v: f64) -> f64 {
    if v > f64::from(f32::MAX) { f64::INFINITY } else { v }
}

/// `|sum over s of frame[s] e^(-2 pi i k s / n)|^2`.
fn bin_power(frame: &[f64], circle: &[(f64, f64)], k: usize) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    let mut phase = 0;
    for &v in frame {
        let (sin, cos) = circle[phase];
        re += v * cos;
        im -= v * sin;
        phase += k;
        if phase >= circle.len() {
            phase -= circle.len();
        }
    }
    re * re + im * im
}

fn sample(padding: Padding, clip: &[f32], index: i64) -> f64 {
    let last = clip.len() as i64 - 1;
    let index = match padding {
        Padding::Reflect if index < 0 => -index,
        Padding::Reflect if index > last => 2 * last - index,
        _ => index,
    };
    usize::try_from(index).ok().and_then(|i| clip.get(i)).map_or(0.0, |&v| f64::from(v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::FrameCount;

    #[test]
    fn a_cosine_on_a_bin_has_its_power_there() {
        // cos(2 pi 8 s / 512) under a flat window: |X_8|^2 = (512 / 2)^2, all other bins 0.
        let x = HostTensor::from_fn([1, 512], |s| (TAU * 8.0 * s as f64 / 512.0).cos() as f32);
        let window = HostTensor::from_fn([512], |_| 1.0);
        let filters = HostTensor::from_fn([2, 257], |i| if i == 8 || i == 257 + 9 { 1.0 } else { 0.0 });
        let op = LogMel {
            hop_length: 512,
            left_samples: 0,
            padding: Padding::Zeros,
            frames: FrameCount::Same,
            exponent: 1,
            power_floor: 1e-10,
        };
        let y = log_mel(&op, &x, &window, &filters, 1);
        assert!((y[0] - 10.0 * (256f32 * 256.0).log10()).abs() < 1e-4, "{y:?}");
        assert!(y[1] < -50.0, "{y:?}");
        let squared = log_mel(&LogMel { exponent: 2, ..op }, &x, &window, &filters, 1);
        assert!((squared[0] - 2.0 * y[0]).abs() < 1e-4);
    }

    #[test]
    fn reflection_leaves_out_the_ends() {
        let clip: Vec<f32> = (0..5).map(|v| v as f32).collect();
        let reflected: Vec<f64> = (-2..7).map(|i| sample(Padding::Reflect, &clip, i)).collect();
        assert_eq!(reflected, [2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]);
        assert_eq!(sample(Padding::Zeros, &clip, -1), 0.0);
        assert_eq!(sample(Padding::Zeros, &clip, 5), 0.0);
    }
}
