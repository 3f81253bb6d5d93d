//! Reference implementation of `batch_stats.wgsl`.

use crate::tensor::HostTensor;

pub(super) fn batch_stats(x: &HostTensor) -> Vec<f32> {
    let [batch, channels, f, t] = [0, 1, 2, 3].map(|axis| x.shape().extent(axis));
    let count = (batch * f * t) as f64;
    let values = |c: usize| {
        let plane = move |n: usize| x.data()[(n * channels + c) * f * t..][..f * t].iter();
        (0..batch).flat_map(plane).map(|&v| f64::from(v))
    };
    let means: Vec<f64> = (0..channels).map(|c| values(c).sum::<f64>() / count).collect();
    let variance = |c: usize| values(c).map(|v| (v - means[c]) * (v - means[c])).sum::<f64>() / count;
    let row: Vec<f32> = means.iter().copied().chain((0..channels).map(variance)).map(|v| v as f32).collect();
    row.repeat(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_gets_the_statistics_of_all() {
        let x = HostTensor::new([2, 2, 1, 1], vec![1.0, 5.0, 3.0, 5.0]).unwrap();
        assert_eq!(batch_stats(&x), [2.0, 5.0, 1.0, 0.0, 2.0, 5.0, 1.0, 0.0]);
    }
}
