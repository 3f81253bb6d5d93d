//! Reference implementation of `conv2d_*.wgsl`.

use super::activation::activate;
use super::larger::larger;
use crate::kernels::Conv2d;
use crate::tensor::HostTensor;

pub(super) fn conv2d(op: &Conv2d, x: &HostTensor, w: &HostTensor, b: &HostTensor) -> Vec<f32> {
    let [batch, channels, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let outputs = w.shape().extent(0);
    let [pf, pt] = op.pool;
    let mut y = Vec::new();
    // One plane of sums at a time; the taps go outermost so that the innermost loop runs along a row.
    let mut plane = vec![0f64; f * t];
    for n in 0..batch {
        for o in 0..outputs {
            plane.fill(f64::from(b.data()[o]));
            for c in 0..channels {
                let input = &x.data()[(n * channels + c) * f * t..][..f * t];
                for i in 0..3 {
                    for j in 0..3 {
                        let weight = f64::from(w.data()[((o * channels + c) * 3 + i) * 3 + j]);
                        correlate(&mut plane, input, [f, t], [i, j], weight);
                    }
                }
            }
            for fo in 0..f / pf {
                for to in 0..t / pt {
                    let window = (0..pf * pt).map(|k| plane[(fo * pf + k / pt) * t + to * pt + k % pt]);
                    y.push(activate(op.activation, window.fold(f64::NEG_INFINITY, larger)) as f32);
                }
            }
        }
    }
    y
}

/// Computes one output of [`conv2d`], at row-major index `place` of `y`.
pub(super) fn conv2d_at(
    op: &Conv2d,
    x: &HostTensor,
    w: &HostTensor,
    b: &HostTensor,
    y: &[usize],
    place: usize,
) -> f32 {
    let [channels, f, t] = [1, 2, 3].map(|axis| x.shape().extent(axis));
    let (to, fo) = (place % y[3], place / y[3] % y[2]);
    let (o, n) = (place / y[3] / y[2] % y[1], place / y[3] / y[2] / y[1]);
    let [pf, pt] = op.pool;
    let window = (0..pf * pt).map(|k| {
        let (row, column) = (fo * pf + k / pt, to * pt + k % pt);
        let mut sum = f64::from(b.data()[o]);
        for c in 0..channels {
            for i in 0..3 {
                for j in 0..3 {
                    let inside = (1..=f).contains(&(row + i)) && (1..=t).contains(&(column + j));
                    if inside {
                        let value = x.data()[((n * channels + c) * f + row + i - 1) * t + column + j - 1];
                        sum += f64::from(value) * f64::from(w.data()[((o * channels + c) * 3 + i) * 3 + j]);
                    }
                }
            }
        }
        sum
    });
    activate(op.activation, window.fold(f64::NEG_INFINITY, larger)) as f32
}

/// Adds `weight * input[f + i - 1, t + j - 1]` to `plane[f, t]`, with zero padding.
fn correlate(plane: &mut [f64], input: &[f32], [f, t]: [usize; 2], [i, j]: [usize; 2], weight: f64) {
    for row in 0..f {
        let Some(source) = (row + i).checked_sub(1).filter(|&source| source < f) else { continue };
        let first = usize::from(j == 0);
        let end = if j == 2 { t - 1 } else { t };
        if first >= end {
            continue;
        }
        let sums = &mut plane[row * t + first..row * t + end];
        let values = &input[source * t + first + j - 1..source * t + end + j - 1];
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += weight * f64::from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Activation;

    fn fill(shape: impl Into<crate::tensor::Shape>, seed: usize) -> HostTensor {
        HostTensor::from_fn(shape, |i| ((i * 97 + seed * 31) % 251) as f32 / 125.5 - 1.0)
    }

    #[test]
    fn an_impulse_shows_the_kernel_rotated() {
        let mut x = HostTensor::zeros([1, 1, 3, 3]);
        x.data_mut()[4] = 1.0;
        let w = HostTensor::from_fn([1, 1, 3, 3], |i| i as f32);
        let y = conv2d(&Conv2d::default(), &x, &w, &HostTensor::zeros([1]));
        assert_eq!(y, [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn one_output_is_that_of_all() {
        let x = fill([2, 3, 7, 11], 1);
        let (w, b) = (fill([5, 3, 3, 3], 2), fill([5], 3));
        let op = Conv2d { pool: [2, 3], activation: Activation::Elu };
        let y = conv2d(&op, &x, &w, &b);
        let found: Vec<_> =
            (0..y.len()).map(|place| conv2d_at(&op, &x, &w, &b, &[2, 5, 3, 3], place)).collect();
        let pairs = found.iter().zip(&y);
        assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) < 1e-6);
    }

    #[test]
    fn bias_pool_and_activation() {
        let x = HostTensor::from_fn([1, 1, 2, 5], |i| i as f32);
        let mut w = HostTensor::zeros([2, 1, 3, 3]);
        w.data_mut()[4] = 1.0;
        w.data_mut()[9 + 4] = -1.0;
        let b = HostTensor::new([2], vec![0.5, 0.0]).unwrap();
        let op = Conv2d { pool: [2, 2], activation: Activation::Elu };
        let y = conv2d(&op, &x, &w, &b);
        assert_eq!(y, [6.5, 8.5, 0.0, (-2f64).exp_m1() as f32]);
    }
}
