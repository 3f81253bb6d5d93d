//! Reference implementation of `normalize_channels.wgsl`.

use crate::kernels::NormalizeChannels;
use crate::tensor::HostTensor;

pub(super) fn normalize_channels(
    op: &NormalizeChannels,
    x: &HostTensor,
    stats: &HostTensor,
    gamma: &HostTensor,
    beta: &HostTensor,
) -> Vec<f32> {
    let [batch, channels, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let mut y = Vec::new();
    for n in 0..batch {
        for c in 0..channels {
            let [mean, variance] = [c, channels + c].map(|i| f64::from(stats.row(n)[i]));
            let scale = f64::from(gamma.data()[c]) / (variance + f64::from(op.epsilon)).sqrt();
            let plane = &x.data()[(n * channels + c) * f * t..][..f * t];
            let shift = f64::from(beta.data()[c]);
            y.extend(plane.iter().map(|&v| ((f64::from(v) - mean) * scale + shift) as f32));
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_statistics() {
        let x = HostTensor::new([1, 2, 1, 2], vec![1.0, 3.0, 5.0, 5.0]).unwrap();
        let stats = HostTensor::new([1, 4], vec![2.0, 5.0, 3.0, 0.0]).unwrap();
        let gamma = HostTensor::new([2], vec![4.0, 1.0]).unwrap();
        let beta = HostTensor::new([2], vec![0.5, 0.25]).unwrap();
        let y = normalize_channels(&NormalizeChannels { epsilon: 1.0 }, &x, &stats, &gamma, &beta);
        assert_eq!(y, [-1.5, 2.5, 0.25, 0.25]);
    }
}
