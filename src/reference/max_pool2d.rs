//! Reference implementation of `max_pool2d.wgsl`.

use super::larger::larger;
use crate::kernels::MaxPool2d;
use crate::tensor::HostTensor;

pub(super) fn max_pool2d(op: &MaxPool2d, x: &HostTensor) -> Vec<f32> {
    let [batch, channels, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let [pf, pt] = op.window;
    let mut y = Vec::new();
    for plane in x.data().chunks_exact(f * t).take(batch * channels) {
        for fo in 0..f / pf {
            for to in 0..t / pt {
                let window = (0..pf * pt).map(|k| plane[(fo * pf + k / pt) * t + to * pt + k % pt]);
                y.push(window.map(f64::from).fold(f64::NEG_INFINITY, larger) as f32);
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_is_dropped() {
        let x = HostTensor::from_fn([1, 1, 3, 5], |i| i as f32);
        assert_eq!(max_pool2d(&MaxPool2d { window: [2, 2] }, &x), [6.0, 8.0]);
        assert_eq!(max_pool2d(&MaxPool2d { window: [1, 4] }, &x), [3.0, 8.0, 13.0]);
    }
}
