//! Log-mel spectrogram: windowed STFT power, mel bands, decibels, in one kernel.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, KernelVariant, KernelVariants,
    Limits, Operation, Packed, Params, Role, ShapeError, Tolerance, expect_count, expect_rank, expect_shape,
    split_workgroups,
};
use crate::tensor::{DType, HostTensor, Shape};

/// FFT length of the kernel, in samples.
pub const N_FFT: usize = 512;
/// FFT bins of a real signal of [`N_FFT`] samples.
pub const BINS: usize = N_FFT / 2 + 1;

static KERNEL: Kernel = Kernel {
    name: "log_mel",
    source: include_str!("../../shaders/frontend/log_mel.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "window", role: Role::Weight(0) },
        Binding { name: "twiddles", role: Role::Weight(1) },
        Binding { name: "bands", role: Role::Weight(2) },
        Binding { name: "filters", role: Role::Weight(3) },
        Binding { name: "y", role: Role::Output },
    ],
};

const VARIANTS: KernelVariants<LogMel> = KernelVariants(&[KernelVariant {
    kernel: &KERNEL,
    configs: |_, _, _| PAIRS.map(|pairs| KernelConfig::new(KERNEL.name, &[("PAIRS", pairs)])).to_vec(),
    workgroups: |_, call, config, limits| {
        let y = call.output;
        split_workgroups(&KERNEL, y.extent(0) * y.extent(3).div_ceil(2).div_ceil(config.get("PAIRS")), limits)
    },
    specific: (),
}]);

/// Pairs of frames of a workgroup: five would not fit 16 KiB of shared memory.
const PAIRS: [u32; 3] = [1, 2, 4];

/// Values taken for samples outside the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The clip mirrored about its first and its last sample, those not repeated.
    Reflect,
    /// Zeros.
    Zeros,
}

/// Number of frames of a clip of `S` samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameCount {
    /// `1 + floor(S / hop)`: frames centred on multiples of the hop.
    Centred,
    /// `ceil(S / hop)`: as many as a strided convolution with padding "same".
    Same,
}

/// `[N, S]` samples, window `[512]` and mel filters `[M, 257]` to `[N, 1, M, T]` in dB.
///
/// `10 log10(max(power_floor, mel^exponent))`, the mel bands weighing `|X|^2`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMel {
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Samples of padding before the first frame.
    pub left_samples: usize,
    /// Values of the padding.
    pub padding: Padding,
    /// Number of frames.
    pub frames: FrameCount,
    /// Power of the mel energies under the logarithm, 1 or 2.
    pub exponent: u32,
    /// Smallest value under the logarithm.
    pub power_floor: f32,
}

impl LogMel {
    fn frames(&self, samples: usize) -> usize {
        match self.frames {
            FrameCount::Centred => 1 + samples / self.hop_length,
            FrameCount::Same => samples.div_ceil(self.hop_length),
        }
    }
}

impl Operation for LogMel {
    fn name(&self) -> &'static str {
        "log_mel"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [window, filters] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 2, x)?;
        expect_shape(self.name(), "window", [N_FFT], window)?;
        expect_shape(self.name(), "filters", [filters.extent(0), BINS], filters)?;
        // A reflection must stay inside the clip on either side.
        if self.hop_length == 0 || x.extent(1) < N_FFT || self.left_samples > N_FFT {
            return Err(ShapeError {
                op: self.name(),
                what: "x",
                expected: format!("at least {N_FFT} samples a clip, a hop, and at most {N_FFT} of padding"),
                found: format!("{x}, hop {}, padding {}", self.hop_length, self.left_samples),
            });
        }
        Ok([x.extent(0), 1, filters.extent(0), self.frames(x.extent(1))].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn reads_element(&self, _index: usize) -> bool {
        false
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        VARIANTS.configs(self, call, limits)
    }

    fn dispatch(
        &self,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let variant = VARIANTS.find(config, call)?;
        Ok(Dispatch {
            element: DType::F32,
            constants: vec![
                ("REFLECT", f64::from(u8::from(self.padding == Padding::Reflect))),
                ("EXPONENT", f64::from(self.exponent)),
            ],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("S", x.extent(1))
                .u32("XS", x.stored_len() / x.extent(0))
                .u32("T", y.extent(3))
                .u32("M", y.extent(2))
                .u32("HOP", self.hop_length)
                .u32("LEFT", self.left_samples)
                .f32("power_floor", self.power_floor),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// Samples are clamped to their clip, and the run of each band lies where `pack` has put it.
    fn max_index(&self, call: &Call, _config: KernelConfig, packed: &[Packed]) -> Option<Vec<usize>> {
        let Some(Packed::U32(bands)) = packed.get(2) else { return None };
        let runs = bands.chunks_exact(4);
        let in_spectrum = runs.clone().all(|band| (band[0] + band[1]) as usize <= BINS);
        let filters = runs.map(|band| (band[2] + band[1]) as usize).max().unwrap_or(0);
        let (x, y) = (call.inputs[0].stored_len(), call.output);
        in_spectrum.then(|| vec![x, N_FFT, 2 * N_FFT, 4 * y.extent(2), filters, y.len()])
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::DECIBELS
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        let twiddles = (0..N_FFT)
            .flat_map(|k| {
                let (sin, cos) = (std::f64::consts::TAU * k as f64 / N_FFT as f64).sin_cos();
                [cos as f32, -sin as f32]
            })
            .collect();
        let (mut bands, mut filters) = (Vec::new(), Vec::new());
        for band in weights[1].data().chunks_exact(BINS) {
            let first = band.iter().position(|&v| v != 0.0).unwrap_or(0);
            let end = band.iter().rposition(|&v| v != 0.0).map_or(first, |last| last + 1);
            bands.extend([first as u32, (end - first) as u32, filters.len() as u32, 0]);
            filters.extend_from_slice(&band[first..end]);
        }
        vec![
            Packed::F32(weights[0].data().to_vec()),
            Packed::F32(twiddles),
            Packed::U32(bands),
            Packed::F32(filters),
        ]
    }

    fn flops(&self, call: &Call) -> u64 {
        // 5 N log2 N for the complex FFT of a pair of frames; the mel bands are small beside it.
        let fft = 5 * N_FFT * N_FFT.ilog2() as usize;
        (call.output.extent(0) * call.output.extent(3).div_ceil(2) * fft) as u64
    }
}
