//! Reference implementation of `mean_pool2d.wgsl`.

use crate::tensor::HostTensor;

pub(super) fn mean_pool2d(x: &HostTensor) -> Vec<f32> {
    let plane = x.shape().extent(2) * x.shape().extent(3);
    let mean = |values: &[f32]| (values.iter().map(|&v| f64::from(v)).sum::<f64>() / plane as f64) as f32;
    x.data().chunks_exact(plane).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mean_a_channel() {
        let x = HostTensor::from_fn([1, 2, 2, 2], |i| i as f32);
        assert_eq!(mean_pool2d(&x), [1.5, 5.5]);
    }
}
