//! Reference implementation of `clip_stats.wgsl`.

use super::larger::larger;
use crate::kernels::{ClipStats, Scope};
use crate::tensor::HostTensor;

pub(super) fn clip_stats(op: &ClipStats, x: &HostTensor) -> Vec<f32> {
    let mut y = Vec::new();
    for n in 0..x.shape().extent(0) {
        let clip = x.row(n);
        let heard = match op.scope {
            Scope::Clip => clip,
            Scope::Batch => x.data(),
        };
        let maximum = heard.iter().fold(f64::NEG_INFINITY, |m, &v| larger(m, f64::from(v)));
        let floored = || clip.iter().map(|&v| larger(f64::from(v), maximum - f64::from(op.range_db)));
        let mean = floored().sum::<f64>() / clip.len() as f64;
        let variance = floored().map(|v| (v - mean) * (v - mean)).sum::<f64>() / clip.len() as f64;
        y.extend([maximum as f32, mean as f32, variance.sqrt() as f32]);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_below_the_maximum_count_as_the_floor() {
        let x = HostTensor::new([2, 1, 1, 2], vec![0.0, -200.0, 5.0, 5.0]).unwrap();
        assert_eq!(
            clip_stats(&ClipStats { range_db: 80.0, scope: Scope::Clip }, &x),
            [0.0, -40.0, 40.0, 5.0, 5.0, 0.0]
        );
        let batch = clip_stats(&ClipStats { range_db: 80.0, scope: Scope::Batch }, &x);
        assert_eq!(batch, [5.0, -37.5, 37.5, 5.0, 5.0, 0.0]);
    }
}
