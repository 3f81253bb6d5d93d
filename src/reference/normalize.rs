//! Reference implementation of `normalize.wgsl`.

use super::larger::larger;
use crate::kernels::{Level, Normalize};
use crate::tensor::HostTensor;

pub(super) fn normalize(
    op: &Normalize,
    x: &HostTensor,
    stats: &HostTensor,
    affine: Option<(&HostTensor, &HostTensor)>,
) -> Vec<f32> {
    let [_, _, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let frames = op.pad[0] + t + op.pad[1];
    let mut y = Vec::new();
    for (row, values) in x.data().chunks_exact(t).enumerate() {
        let clip = stats.row(row / f);
        let [maximum, mean, deviation] = [0, 1, 2].map(|i| f64::from(clip[i]));
        for frame in 0..frames {
            let v = match frame.checked_sub(op.pad[0]).and_then(|frame| values.get(frame)) {
                None => 0.0,
                Some(&db) => {
                    let floored = larger(f64::from(db), maximum - f64::from(op.range_db));
                    match op.level {
                        Level::Absolute => floored,
                        Level::BelowMaximum => floored - maximum,
                        Level::Standardised => (floored - mean) / (deviation + f64::from(op.epsilon)),
                    }
                }
            };
            let (scale, shift) = affine.map_or((1.0, 0.0), |(scale, shift)| {
                (f64::from(scale.data()[frame]), f64::from(shift.data()[frame]))
            });
            y.push((v * scale + shift) as f32);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_padding_and_affine() {
        let x = HostTensor::new([1, 1, 1, 2], vec![10.0, -100.0]).unwrap();
        let stats = HostTensor::new([1, 3], vec![10.0, -30.0, 40.0]).unwrap();
        let op = Normalize { level: Level::Absolute, range_db: 80.0, epsilon: 0.0, pad: [1, 0] };
        assert_eq!(normalize(&op, &x, &stats, None), [0.0, 10.0, -70.0]);
        let op = Normalize { level: Level::BelowMaximum, ..op };
        assert_eq!(normalize(&op, &x, &stats, None), [0.0, 0.0, -80.0]);
        let op = Normalize { level: Level::Standardised, ..op };
        let scale = HostTensor::new([3], vec![1.0, 2.0, 3.0]).unwrap();
        let shift = HostTensor::new([3], vec![0.5, 0.0, 0.0]).unwrap();
        assert_eq!(normalize(&op, &x, &stats, Some((&scale, &shift))), [0.5, 2.0, -3.0]);
    }

    #[test]
    fn a_silent_clip_becomes_zeros() {
        let x = HostTensor::new([1, 1, 1, 2], vec![-100.0, -100.0]).unwrap();
        let stats = HostTensor::new([1, 3], vec![-100.0, -100.0, 0.0]).unwrap();
        let op = Normalize { level: Level::Standardised, range_db: 80.0, epsilon: 1e-8, pad: [0, 0] };
        assert_eq!(normalize(&op, &x, &stats, None), [0.0, 0.0]);
    }
}
