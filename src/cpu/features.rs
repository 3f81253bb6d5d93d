//! Ops over channels: batch_stats, normalize_channels, mean_pool2d, concat.

use super::kernel::{CpuKernel, KernelContext};
use crate::kernels::NormalizeChannels;
use crate::tensor::HostTensor;

/// Op over the channels of one clip, channels last.
#[derive(Debug)]
pub(super) enum Features {
    /// Mean and variance of each channel. The batch is one clip: larger batches of dependent clips are refused.
    ClipStatistics,
    /// Mean of each channel.
    Mean,
    /// Concatenation.
    Concat,
}

impl CpuKernel for Features {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        match self {
            Features::ClipStatistics => context.arch.dispatch(|| {
                let (mean, variance) = y.split_at_mut(y.len() / 2);
                means(x[0], mean, |v, _| f64::from(v));
                let centre = mean.to_vec();
                means(x[0], variance, |v, c| (f64::from(v) - f64::from(centre[c])).powi(2));
            }),
            Features::Mean => context.arch.dispatch(|| means(x[0], y, |v, _| f64::from(v))),
            Features::Concat => {
                let (a, b) = y.split_at_mut(x[0].len());
                a.copy_from_slice(x[0]);
                b.copy_from_slice(x[1]);
            }
        }
    }

    fn kernel(&self) -> &'static str {
        match self {
            Features::ClipStatistics => "batch_stats",
            Features::Mean => "mean_pool2d",
            Features::Concat => "concat",
        }
    }
}

/// Mean of `value(v, channel)` over all positions, for each of `y.len()` channels.
#[inline(always)]
fn means(x: &[f32], y: &mut [f32], value: impl Fn(f32, usize) -> f64) {
    let mut sums = vec![0f64; y.len()];
    for row in x.chunks_exact(y.len()) {
        for (c, (sum, &v)) in sums.iter_mut().zip(row).enumerate() {
            *sum += value(v, c);
        }
    }
    let places = (x.len() / y.len()) as f64;
    for (y, sum) in y.iter_mut().zip(sums) {
        *y = (sum / places) as f32;
    }
}

/// Batch normalisation with the clip's own statistics.
#[derive(Debug)]
pub(super) struct ChannelNorm {
    epsilon: f32,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl ChannelNorm {
    pub(super) fn new(op: &NormalizeChannels, [gamma, beta]: [&HostTensor; 2]) -> ChannelNorm {
        ChannelNorm { epsilon: op.epsilon, gamma: gamma.data().to_vec(), beta: beta.data().to_vec() }
    }
}

impl CpuKernel for ChannelNorm {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        context.arch.dispatch(|| {
            let channels = self.gamma.len();
            let (mean, variance) = x[1].split_at(channels);
            for (x, y) in x[0].chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                for c in 0..channels {
                    let scale = self.gamma[c] / (variance[c] + self.epsilon).sqrt();
                    y[c] = (x[c] - mean[c]) * scale + self.beta[c];
                }
            }
        });
    }

    fn kernel(&self) -> &'static str {
        "normalize_channels"
    }
}
