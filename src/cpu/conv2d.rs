//! Convolution by Winograd or direct summation, with fused bias, max-pool and activation.
//!
//! The output of a clip is split into regions whose inputs, sums and outputs fit the cache; each is one task. Pooling
//! comes before bias and activation, which are monotonic, so that fewer exponentials are computed.

use rayon::prelude::*;

use super::conv_prepared::{Conv, Convolution, Region};
use super::conv_task::ConvTask;
use super::kernel::{CpuKernel, KernelContext};
use super::scratch::Scratch;

impl Conv {
    /// Computes a region, or splits it in two for two threads.
    fn share(&self, context: &KernelContext, x: &[f32], region: Region) {
        let segments = region.width.div_ceil(self.task[1]);
        if segments <= 1 {
            let work =
                |scratch: &mut Scratch| context.arch.dispatch(ConvTask { conv: self, x, region, scratch });
            return context.scratch.with(Scratch::default, work);
        }
        let (left, right) = region.split(segments / 2 * self.task[1]);
        if context.parallel {
            rayon::join(|| self.share(context, x, left), || self.share(context, x, right));
        } else {
            self.share(context, x, left);
            self.share(context, x, right);
        }
    }
}

impl CpuKernel for Conv {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        let [out_channels, _, width] = self.output;
        let band = |(index, y): (usize, &mut [f32])| {
            self.share(context, x[0], Region::band(y, index * self.task[0], width, width * out_channels));
        };
        let band_len = self.task[0] * width * out_channels;
        if context.parallel {
            y.par_chunks_mut(band_len).enumerate().for_each(band);
        } else {
            y.chunks_mut(band_len).enumerate().for_each(band);
        }
    }

    fn kernel(&self) -> &'static str {
        match self.algorithm {
            Convolution::Direct => "conv2d direct",
            Convolution::Winograd => "conv2d winograd",
        }
    }
}
