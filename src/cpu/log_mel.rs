//! Front end: log-mel spectrogram, statistics of a clip, floor and standardisation.

use std::sync::Arc;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::kernel::{CpuKernel, KernelContext};
use super::scratch::{Scratch, ScratchPool};
use super::simd::{larger, ln, load, store};
use crate::kernels::{ClipStats, Level, LogMel, Normalize, Padding};
use crate::tensor::{HostTensor, Shape};

/// Number of frames of a task. Their powers are interleaved, so that a mel band is summed for all of them at once.
const FRAMES: usize = 16;

/// Prepared spectrogram.
pub(super) struct Spectrogram {
    op: LogMel,
    bands: usize,
    frames: usize,
    window: Vec<f32>,
    /// First bin and weights of each mel band.
    filters: Vec<(usize, Vec<f32>)>,
    fft: Arc<dyn RealToComplex<f32>>,
    memory: ScratchPool<Memory>,
    blocks: ScratchPool<Scratch>,
}

/// Buffers of a task.
struct Memory {
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    /// Powers `[bins, FRAMES]`.
    power: Vec<f32>,
}

impl std::fmt::Debug for Spectrogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spectrogram").field("op", &self.op).finish_non_exhaustive()
    }
}

impl Spectrogram {
    /// Prepares window `[n_fft]` and mel filters `[M, n_fft / 2 + 1]` for outputs of shape `y`.
    pub(super) fn new(op: &LogMel, y: Shape, [window, filters]: [&HostTensor; 2]) -> Spectrogram {
        let sparse = |band: usize| {
            let weights = filters.row(band);
            let first = weights.iter().position(|&v| v != 0.0).unwrap_or(0);
            let end = weights.iter().rposition(|&v| v != 0.0).map_or(first, |last| last + 1);
            (first, weights[first..end].to_vec())
        };
        Spectrogram {
            op: op.clone(),
            bands: y.extent(2),
            frames: y.extent(3),
            window: window.data().to_vec(),
            filters: (0..y.extent(2)).map(sparse).collect(),
            fft: RealFftPlanner::new().plan_fft_forward(window.data().len()),
            memory: ScratchPool::default(),
            blocks: ScratchPool::default(),
        }
    }

    fn memory(&self) -> Memory {
        let spectrum = self.fft.make_output_vec();
        Memory {
            frame: self.fft.make_input_vec(),
            power: vec![0.0; spectrum.len() * FRAMES],
            scratch: self.fft.make_scratch_vec(),
            spectrum,
        }
    }

    /// Applies the window to the samples from `start` on.
    fn window(&self, clip: &[f32], start: i64, frame: &mut [f32]) {
        let inside = usize::try_from(start).ok().and_then(|start| clip.get(start..start + frame.len()));
        if let Some(samples) = inside {
            for ((v, &sample), &weight) in frame.iter_mut().zip(samples).zip(&self.window) {
                *v = sample * weight;
            }
            return;
        }
        let last = clip.len() as i64 - 1;
        for ((v, &weight), index) in frame.iter_mut().zip(&self.window).zip(start..) {
            let index = match self.op.padding {
                Padding::Reflect if index < 0 => -index,
                Padding::Reflect if index > last => 2 * last - index,
                _ => index,
            };
            let sample = usize::try_from(index).ok().and_then(|index| clip.get(index));
            *v = sample.copied().unwrap_or(0.0) * weight;
        }
    }

    /// Computes frames `first..` of a clip as `[M, FRAMES]` in dB.
    fn block(&self, context: &KernelContext, clip: &[f32], first: usize, y: &mut [f32], memory: &mut Memory) {
        let count = FRAMES.min(self.frames - first);
        for f in 0..count {
            let start = ((first + f) * self.op.hop_length) as i64 - self.op.left_samples as i64;
            self.window(clip, start, &mut memory.frame);
            // The lengths are those that the transform itself gave.
            let done =
                self.fft.process_with_scratch(&mut memory.frame, &mut memory.spectrum, &mut memory.scratch);
            debug_assert!(done.is_ok());
            for (power, bin) in memory.power.chunks_exact_mut(FRAMES).zip(&memory.spectrum) {
                power[f] = bin.norm_sqr();
            }
        }
        context.arch.dispatch(Bands { spectrogram: self, power: &memory.power, y });
    }
}

/// Mel bands of a block of frames in dB.
struct Bands<'a> {
    spectrogram: &'a Spectrogram,
    power: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Bands<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let op = &self.spectrogram.op;
        let scale = simd.splat_f32s((10.0 / std::f64::consts::LN_10) as f32);
        let floor = simd.splat_f32s(op.power_floor);
        for ((first, weights), y) in self.spectrogram.filters.iter().zip(self.y.chunks_exact_mut(FRAMES)) {
            for f in (0..FRAMES).step_by(S::F32_LANES) {
                let mut sum = simd.splat_f32s(0.0);
                for (power, &weight) in self.power[first * FRAMES..].chunks_exact(FRAMES).zip(weights) {
                    sum = simd.mul_add_e_f32s(load(simd, &power[f..]), simd.splat_f32s(weight), sum);
                }
                let mut value = sum;
                for _ in 1..op.exponent {
                    value = simd.mul_f32s(value, sum);
                }
                store(simd, &mut y[f..], simd.mul_f32s(ln(simd, larger(simd, floor, value)), scale));
            }
        }
    }
}

impl CpuKernel for Spectrogram {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        let block_len = self.bands * FRAMES;
        self.blocks.with(Scratch::default, |scratch| {
            let blocks = scratch.tiles.at_least(self.frames.div_ceil(FRAMES) * block_len);
            let work = |(index, y): (usize, &mut [f32])| {
                self.memory.with(
                    || self.memory(),
                    |memory| {
                        self.block(context, x[0], index * FRAMES, y, memory);
                    },
                );
            };
            if context.parallel {
                blocks.par_chunks_exact_mut(block_len).enumerate().for_each(work);
            } else {
                blocks.chunks_exact_mut(block_len).enumerate().for_each(work);
            }
            for (index, block) in blocks.chunks_exact(block_len).enumerate() {
                let first = index * FRAMES;
                let count = FRAMES.min(self.frames - first);
                for (y, block) in y.chunks_exact_mut(self.frames).zip(block.chunks_exact(FRAMES)) {
                    y[first..first + count].copy_from_slice(&block[..count]);
                }
            }
        });
    }

    fn kernel(&self) -> &'static str {
        "log_mel"
    }
}

/// Maximum, mean and standard deviation of a clip; all NaN if any value is NaN.
#[derive(Debug)]
pub(super) struct ClipStatistics(pub(super) ClipStats);

impl ClipStatistics {
    #[inline(always)]
    fn of(&self, x: &[f32]) -> [f32; 3] {
        // 16 partial sums in f64.
        const LANES: usize = 16;
        let mut maxima = [f32::NEG_INFINITY; LANES];
        for chunk in x.chunks(LANES) {
            for (m, &v) in maxima.iter_mut().zip(chunk) {
                *m = if v > *m { v } else { *m };
            }
        }
        let maximum = maxima.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let floor = maximum - self.0.range_db;
        let sum = |value: &dyn Fn(f64) -> f64| -> f64 {
            let mut sums = [0f64; LANES];
            for chunk in x.chunks(LANES) {
                for (sum, &v) in sums.iter_mut().zip(chunk) {
                    *sum += value(f64::from(floored(v, floor)));
                }
            }
            sums.iter().sum()
        };
        let count = x.len() as f64;
        let mean = sum(&|v| v) / count;
        let variance = sum(&|v| (v - mean) * (v - mean)) / count;
        [if mean.is_nan() { f32::NAN } else { maximum }, mean as f32, variance.sqrt() as f32]
    }
}

/// Maximum of `v` and the floor; NaN stays NaN.
#[inline(always)]
fn floored(v: f32, floor: f32) -> f32 {
    if v < floor { floor } else { v }
}

impl CpuKernel for ClipStatistics {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        y.copy_from_slice(&context.arch.dispatch(|| self.of(x[0])));
    }

    fn kernel(&self) -> &'static str {
        "clip_stats"
    }
}

/// Floor, normalisation and padding, with a scale and a shift per frame.
#[derive(Debug)]
pub(super) struct Standardise {
    op: Normalize,
    /// Number of frames of the input.
    frames: usize,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Standardise {
    /// Weights: none, or scale and shift per output frame.
    pub(super) fn new(op: &Normalize, x: Shape, weights: &[&HostTensor]) -> Standardise {
        let frames = x.extent(3);
        let columns = op.pad[0] + frames + op.pad[1];
        let weight = |index: usize, none: f32| {
            weights.get(index).map_or_else(|| vec![none; columns], |weight| weight.data().to_vec())
        };
        Standardise { op: op.clone(), frames, scale: weight(0, 1.0), shift: weight(1, 0.0) }
    }

    #[inline(always)]
    fn rows(&self, x: &[f32], [maximum, mean, deviation]: [f32; 3], y: &mut [f32]) {
        let floor = maximum - self.op.range_db;
        let (offset, factor) = match self.op.level {
            Level::Absolute => (0.0, 1.0),
            Level::BelowMaximum => (maximum, 1.0),
            Level::Standardised => (mean, 1.0 / (deviation + self.op.epsilon)),
        };
        // No value is below such a floor.
        let offset = if floor.is_nan() { floor } else { offset };
        let left = self.op.pad[0];
        let (scale, shift) = (&self.scale[left..], &self.shift[left..]);
        for (x, y) in x.chunks_exact(self.frames).zip(y.chunks_exact_mut(self.scale.len())) {
            y.copy_from_slice(&self.shift);
            let y = &mut y[left..left + self.frames];
            for (((y, &v), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                let v = floored(v, floor);
                *y = (v - offset) * factor * scale + shift;
            }
        }
    }
}

impl CpuKernel for Standardise {
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]) {
        let stats = [0, 1, 2].map(|index| x[1][index]);
        context.arch.dispatch(|| self.rows(x[0], stats, y));
    }

    fn kernel(&self) -> &'static str {
        "normalize"
    }
}
