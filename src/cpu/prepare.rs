//! CPU kernel of each op.

use pulp::Arch;

use super::conv_prepared::{Conv, Convolution};
use super::dense::DenseLayer;
use super::elementwise::{Affine, Elementwise};
use super::features::{ChannelNorm, Features};
use super::gru::Recurrence;
use super::kernel::CpuKernel;
use super::log_mel::{ClipStatistics, Spectrogram, Standardise};
use crate::kernels::Op;
use crate::tensor::{HostTensor, Shape};

/// Prepares `op` for clips whose tensors have these shapes.
pub(super) fn prepare(
    arch: Arch,
    op: &Op,
    x: &[Shape],
    y: Shape,
    w: &[&HostTensor],
    convolution: Option<Convolution>,
) -> Box<dyn CpuKernel> {
    match op {
        Op::Activation(op) => Box::new(Elementwise::Activation(*op)),
        Op::BatchNorm(op) => Box::new(Affine::new(op, x[0], [w[0], w[1]])),
        Op::ClipStats(op) => Box::new(ClipStatistics(op.clone())),
        Op::Conv2d(op) => Box::new(Conv::new(arch, op, x[0], y, [w[0], w[1]], convolution)),
        Op::Dense(op) => Box::new(DenseLayer::new(arch, op, [w[0], w[1]])),
        Op::Gru(op) => Box::new(Recurrence::new(op, [w[0], w[1]])),
        Op::LastState(_) => Box::new(Elementwise::LastState),
        Op::LogMel(op) => Box::new(Spectrogram::new(op, y, [w[0], w[1]])),
        Op::MaxPool2d(op) => Box::new(Elementwise::MaxPool2d(op.clone(), x[0])),
        Op::Normalize(op) => Box::new(Standardise::new(op, x[0], w)),
        Op::BatchStats(_) => Box::new(Features::ClipStatistics),
        Op::Concat(_) => Box::new(Features::Concat),
        Op::MeanPool2d(_) => Box::new(Features::Mean),
        Op::NormalizeChannels(op) => Box::new(ChannelNorm::new(op, [w[0], w[1]])),
        Op::PadTime(op) => Box::new(Elementwise::PadTime(op.clone(), x[0])),
    }
}
