//! Reference implementation of `last_state.wgsl`.

use crate::tensor::HostTensor;

pub(super) fn last_state(x: &HostTensor) -> Vec<f32> {
    let [batch, frames, extent] = [0, 1, 2].map(|axis| x.shape().extent(axis));
    (0..batch).flat_map(|n| x.data()[(n * frames + frames - 1) * extent..][..extent].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_last_frame_of_each_clip() {
        let x = HostTensor::from_fn([2, 3, 2], |i| i as f32);
        assert_eq!(last_state(&x), [4.0, 5.0, 10.0, 11.0]);
    }
}
