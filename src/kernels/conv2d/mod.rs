//! 3x3 convolution with bias, max-pool and activation in its epilogue.

use super::{
    Absorbed, Activation, Axis, Binding, Call, Dispatch, DispatchError, Limits, MaxPool2d, Op, Operation,
    Packed, Params, Role, ShapeError, Strategy, Ways, expect_count, expect_rank, expect_shape,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

mod cooperative;
mod direct;
mod patch;
mod subgroup;
mod tiled;
mod winograd;

/// What every strategy binds.
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

/// What a way of convolving says of its weights and of its text.
struct Own {
    /// `vec4`s of output channels of which the kernel always makes a whole number.
    channels4: fn(Strategy) -> usize,
    /// Rows of the packed weights for so many stored input channels: one for every tap and channel.
    depth: fn(Strategy, usize) -> usize,
    /// What goes in front of the kernel before the strategy's constants.
    header: fn(&Conv2d, Strategy) -> String,
    /// The kernel `[O, C, 3, 3]` for so many padded output channels.
    pack: fn(&Conv2d, Strategy, &HostTensor, usize) -> Vec<f32>,
}

/// One way to run convolutions: a file of this folder.
type Way = super::Way<Conv2d, Own>;

/// All ways, the portable default of its kind first.
const WAYS: Ways<Conv2d, Own> = Ways(&[
    direct::PLANE,
    subgroup::SUBGROUP,
    direct::DIRECT,
    tiled::TILED,
    winograd::WINOGRAD,
    cooperative::COOPERATIVE,
    patch::PATCH,
]);

/// `vec4`s of output channels, padded to a whole number of a thread's or a tile's.
fn padded_channels4(way: &Way, call: &Call, strategy: Strategy) -> usize {
    let channels4 = stored_channels(call.output.extent(1)) / 4;
    channels4.next_multiple_of((way.own.channels4)(strategy).max(1))
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

    fn strategies(&self, call: &Call, limits: &Limits) -> Vec<Strategy> {
        // One output channel is stored as a plain scalar, which no kernel writes.
        match call.output.extent(1) {
            0 | 1 => Vec::new(),
            _ => {
                let mut strategies = WAYS.strategies(self, call, limits);
                // Shared memory wins on hardware, where every load of the direct kernel lies in a line of its own.
                strategies.sort_by_key(|s| !limits.software && s.kernel() == direct::DIRECT.kernel.name);
                strategies
            }
        }
    }

    fn dispatch(&self, call: &Call, strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let (strategy, way) = WAYS.choose(strategy, &self.strategies(call, limits), call)?;
        let [pf, pt] = self.pool;
        let own = (way.own.header)(self, strategy);
        Ok(Dispatch {
            header: format!("{own}{}const PF = {pf}u; const PT = {pt}u; ", strategy.header()),
            constants: vec![self.activation.constant()],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("F", x.extent(2))
                .u32("T", x.extent(3))
                .u32("C4", stored_channels(x.extent(1)).div_ceil(4))
                .u32("FO", y.extent(2))
                .u32("TO", y.extent(3))
                .u32("O4", stored_channels(y.extent(1)) / 4)
                .u32("OP4", padded_channels4(way, call, strategy)),
            ..way.dispatch(self, call, strategy, limits)?
        })
    }

    /// Every index of every way is one of these products' terms, each below its factor: rows, frames and channels
    /// of x are guarded, those of w and b go up to the padded channels, those of y are guarded again.
    fn bounds(&self, call: &Call, strategy: Strategy, _packed: &[Packed]) -> Option<Vec<usize>> {
        let (x, y) = (call.inputs[0], call.output);
        let way = WAYS.of(strategy)?;
        let padded = 4 * padded_channels4(way, call, strategy);
        let [channels, outputs] = [x, y].map(|shape| stored_channels(shape.extent(1)));
        Some(vec![
            x.extent(0) * x.extent(2) * x.extent(3) * channels,
            (way.own.depth)(strategy, channels) * padded,
            padded,
            y.extent(0) * y.extent(2) * y.extent(3) * outputs,
        ])
    }

    fn pack(&self, call: &Call, strategy: Strategy, weights: &[&HostTensor]) -> Vec<Packed> {
        let strategy = strategy.or_first(&self.strategies(call, &Limits::default()));
        let way = WAYS.of(strategy).unwrap_or(&direct::DIRECT);
        let padded = 4 * padded_channels4(way, call, strategy);
        let mut b = weights[1].data().to_vec();
        b.resize(padded, 0.0);
        vec![Packed::Element((way.own.pack)(self, strategy, weights[0], padded)), Packed::F32(b)]
    }

    /// Takes in, in this order: a batch normalisation of the channels (folded into kernel and bias, in f64),
    /// an activation, and a max-pool; activation and max-pool also the other way round.
    fn absorb(&self, weights: &[&HostTensor], next: &Op, next_weights: &[&HostTensor]) -> Option<Absorbed> {
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
