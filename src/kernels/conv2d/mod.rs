//! 3x3 convolution with bias, max-pool and activation in its epilogue.

use super::{
    Activation, Axis, Binding, Call, Dispatch, DispatchError, FIRST_WORKGROUP, Fused, KernelConfig,
    KernelVariants, Limits, MaxPool2d, Op, Operation, Packed, Params, Role, ShapeError, Tolerance,
    expect_count, expect_rank, expect_shape,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

mod cooperative;
mod direct;
mod patch;
mod subgroup;
mod tiled;
mod winograd;

/// Bindings of every kernel of the op.
const BINDINGS: &[Binding] = &[
    Binding { name: "x", role: Role::Input(0) },
    Binding { name: "w", role: Role::Weight(0) },
    Binding { name: "b", role: Role::Weight(1) },
    Binding { name: "y", role: Role::Output },
];

/// Extent of the convolution kernel along frequency and along time.
const KERNEL: usize = 3;

/// `[N, C, F, T]`, kernel `[O, C, 3, 3]` and bias `[O]` to `[N, O, F / pf, T / pt]`: correlation with zero
/// padding of one on every side, then max-pool, then the activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Max-pool window along frequency and time; `[1, 1]` for none. The remainder is dropped.
    pub pool: [usize; 2],
    /// Applied after pooling. None of them decreases, so the order does not matter.
    pub activation: Activation,
}

impl Default for Conv2d {
    /// A convolution and nothing else.
    fn default() -> Conv2d {
        Conv2d { pool: [1, 1], activation: Activation::Identity }
    }
}

/// Conv2d-specific parts of a kernel variant: weight packing and generated header.
struct Specific {
    /// `vec4`s of output channels of which the kernel always makes a whole number.
    channels4: fn(KernelConfig) -> usize,
    /// Rows of the packed weights for so many stored input channels: one for every tap and channel.
    depth: fn(KernelConfig, usize) -> usize,
    /// Lines of the header before the configuration's constants.
    header: fn(&Conv2d, KernelConfig) -> String,
    /// The kernel `[O, C, 3, 3]` for so many padded output channels.
    pack: fn(&Conv2d, KernelConfig, &HostTensor, usize) -> Vec<f32>,
}

/// Kernel variant of convolutions: a file of this folder.
type KernelVariant = super::KernelVariant<Conv2d, Specific>;

/// All kernel variants, the default of each kind of device first.
const VARIANTS: KernelVariants<Conv2d, Specific> = KernelVariants(&[
    direct::PLANE,
    subgroup::SUBGROUP,
    direct::DIRECT,
    tiled::TILED,
    winograd::WINOGRAD,
    cooperative::COOPERATIVE,
    patch::PATCH,
]);

/// `vec4`s of output channels, padded to a whole number of a thread's or a tile's.
fn padded_channels4(variant: &KernelVariant, call: &Call, config: KernelConfig) -> usize {
    let channels4 = stored_channels(call.output.extent(1)) / 4;
    channels4.next_multiple_of((variant.specific.channels4)(config).max(1))
}

impl Operation for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [w, b] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        expect_shape(self.name(), "w", [w.extent(0), x.extent(1), KERNEL, KERNEL], w)?;
        expect_shape(self.name(), "b", [w.extent(0)], b)?;
        let [f, t] = MaxPool2d::pooled(self.name(), self.pool, [x.extent(2), x.extent(3)])?;
        Ok([x.extent(0), w.extent(0), f, t].into())
    }

    fn configs(&self, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        // One output channel is stored as a plain scalar, which no kernel writes.
        match call.output.extent(1) {
            0 | 1 => Vec::new(),
            _ => {
                let mut configs = VARIANTS.configs(self, call, limits);
                // Shared memory wins on hardware, where every load of the direct kernel lies in a line of its own.
                configs.sort_by_key(|s| !limits.software && s.kernel() == direct::DIRECT.kernel.name);
                configs
            }
        }
    }

    fn dispatch(
        &self,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let variant = VARIANTS.find(config, call)?;
        let [pf, pt] = self.pool;
        let specific = (variant.specific.header)(self, config);
        Ok(Dispatch {
            header: format!("{specific}{}const PF = {pf}u; const PT = {pt}u; ", config.header()),
            constants: vec![self.activation.constant()],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("F", x.extent(2))
                .u32("T", x.extent(3))
                .u32("C4", stored_channels(x.extent(1)).div_ceil(4))
                .u32("FO", y.extent(2))
                .u32("TO", y.extent(3))
                .u32("O4", stored_channels(y.extent(1)) / 4)
                .u32("OP4", padded_channels4(variant, call, config))
                .u32(FIRST_WORKGROUP, 0),
            ..variant.dispatch(self, call, config, limits)?
        })
    }

    /// Every index of every variant is one of these products' terms, each below its factor: rows, frames and channels
    /// of x are guarded, those of w and b go up to the padded channels, those of y are guarded again.
    fn max_index(&self, call: &Call, config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let (x, y) = (call.inputs[0], call.output);
        let variant = VARIANTS.of(config)?;
        let padded = 4 * padded_channels4(variant, call, config);
        let [channels, outputs] = [x, y].map(|shape| stored_channels(shape.extent(1)));
        Some(vec![
            x.extent(0) * x.extent(2) * x.extent(3) * channels,
            (variant.specific.depth)(config, channels) * padded,
            padded,
            y.extent(0) * y.extent(2) * y.extent(3) * outputs,
        ])
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }

    fn pack(&self, call: &Call, config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        let of = VARIANTS.of(config);
        let variant = of.unwrap_or_else(|| unreachable!("`dispatch` takes no other kernel"));
        let padded = 4 * padded_channels4(variant, call, config);
        let mut b = weights[1].data().to_vec();
        b.resize(padded, 0.0);
        vec![Packed::Element((variant.specific.pack)(self, config, weights[0], padded)), Packed::F32(b)]
    }

    /// Takes in, in this order: a batch normalisation of the channels (folded into kernel and bias, in f64),
    /// an activation, and a max-pool; activation and max-pool also the other way round.
    fn fuse(&self, weights: &[&HostTensor], next: &Op, next_weights: &[&HostTensor]) -> Option<Fused> {
        let unchanged = || weights.iter().map(|&w| w.clone()).collect();
        match next {
            Op::BatchNorm(norm) if norm.axis == Axis::Channel && *self == Conv2d::default() => {
                Some((Op::Conv2d(self.clone()), folded(weights, next_weights)))
            }
            Op::Activation(activation) if self.activation == Activation::Identity => {
                Some((Op::Conv2d(Conv2d { activation: *activation, ..self.clone() }), unchanged()))
            }
            Op::MaxPool2d(pool) if self.pool == [1, 1] => {
                Some((Op::Conv2d(Conv2d { pool: pool.window, ..self.clone() }), unchanged()))
            }
            _ => None,
        }
    }

    fn flops(&self, call: &Call) -> u64 {
        let x = call.inputs[0];
        2 * (x.len() * KERNEL * KERNEL * call.output.extent(1)) as u64
    }
}

/// Kernel and bias with scale and shift multiplied in: `(w x + b) * scale + shift`.
fn folded(weights: &[&HostTensor], norm: &[&HostTensor]) -> Vec<HostTensor> {
    let (mut w, mut b) = (weights[0].clone(), weights[1].clone());
    let taps = w.data().len() / b.data().len();
    for (channel, bias) in b.data_mut().iter_mut().enumerate() {
        let (scale, shift) = (f64::from(norm[0].data()[channel]), f64::from(norm[1].data()[channel]));
        *bias = (f64::from(*bias) * scale + shift) as f32;
        for value in &mut w.data_mut()[channel * taps..(channel + 1) * taps] {
            *value = (f64::from(*value) * scale) as f32;
        }
    }
    vec![w, b]
}
