//! Reference implementation of `batch_norm.wgsl`.

use crate::kernels::{Axis, BatchNorm};
use crate::tensor::HostTensor;

pub(super) fn batch_norm(op: &BatchNorm, x: &HostTensor, scale: &HostTensor, shift: &HostTensor) -> Vec<f32> {
    let [_, channels, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let normalised = x.data().iter().enumerate().map(|(index, &v)| {
        let k = match op.axis {
            Axis::Channel => index / (f * t) % channels,
            Axis::Time => index % t,
        };
        (f64::from(v) * f64::from(scale.data()[k]) + f64::from(shift.data()[k])) as f32
    });
    normalised.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_shift_follow_their_axis() {
        let x = HostTensor::new([1, 2, 1, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let scale = HostTensor::new([2], vec![10.0, 100.0]).unwrap();
        let shift = HostTensor::new([2], vec![0.5, 0.25]).unwrap();
        let channel = batch_norm(&BatchNorm { axis: Axis::Channel }, &x, &scale, &shift);
        assert_eq!(channel, [10.5, 20.5, 300.25, 400.25]);
        let time = batch_norm(&BatchNorm { axis: Axis::Time }, &x, &scale, &shift);
        assert_eq!(time, [10.5, 200.25, 30.5, 400.25]);
    }
}
