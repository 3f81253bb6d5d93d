//! 3x3 convolution with bias, max-pool and activation in its epilogue.

use super::{
    ACTIVATIONS, Absorbed, Activation, Axis, Binding, Call, Dispatch, DispatchError, Kernel, Limits,
    MaxPool2d, Op, Operation, Packed, Params, Role, ShapeError, Strategy, expect_count, expect_rank,
    expect_shape,
};
use crate::tensor::{HostTensor, Shape, stored_channels};

const BINDINGS: &[Binding] = &[
    Binding { name: "x", role: Role::Input(0) },
    Binding { name: "w", role: Role::Weight(0) },
    Binding { name: "b", role: Role::Weight(1) },
    Binding { name: "y", role: Role::Output },
];

static DIRECT: Kernel = Kernel {
    name: "conv2d_direct",
    source: include_str!("../../shaders/layers/conv2d_direct.wgsl"),
    appends: &[&ACTIVATIONS],
    bindings: BINDINGS,
};

static PLANE: Kernel = Kernel {
    name: "conv2d_plane",
    source: include_str!("../../shaders/layers/conv2d_plane.wgsl"),
    appends: &[&ACTIVATIONS],
    bindings: BINDINGS,
};

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

/// Which kernel runs a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Conv2dStrategy {
    /// One input channel: pixels are scalars.
    Plane,
    /// Any number of channels, `vec4`s straight from memory.
    Direct,
}

/// What a thread of a kernel makes.
struct Tile {
    /// Threads of a workgroup.
    threads: usize,
    /// Pool windows along time.
    windows: usize,
    /// `vec4`s of output channels.
    channels4: usize,
}

impl Conv2d {
    fn tile(&self, strategy: Conv2dStrategy, limits: &Limits) -> Tile {
        let threads = if limits.software { 8 } else { 64 };
        match strategy {
            Conv2dStrategy::Plane => Tile { threads, windows: 1, channels4: 4 },
            // About eight convolution outputs a thread, whatever the window.
            Conv2dStrategy::Direct => {
                let windows = (8 / (self.pool[0] * self.pool[1])).max(1);
                Tile { threads, windows, channels4: 2 }
            }
        }
    }
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

    fn strategies(&self, call: &Call, _limits: &Limits) -> Vec<Strategy> {
        let strategy =
            if call.inputs[0].extent(1) == 1 { Conv2dStrategy::Plane } else { Conv2dStrategy::Direct };
        vec![Strategy::Conv2d(strategy)]
    }

    fn dispatch(&self, call: &Call, strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let strategy = chosen(strategy, call);
        let (kernel, fits) = match strategy {
            Conv2dStrategy::Plane => (&PLANE, x.extent(1) == 1),
            Conv2dStrategy::Direct => (&DIRECT, x.extent(1) > 1),
        };
        // One output channel is stored as a plain scalar, which neither kernel writes.
        if !fits || y.extent(1) < 2 {
            return Err(DispatchError::NotApplicable { kernel: kernel.name, call: format!("{x} to {y}") });
        }
        let tile = self.tile(strategy, limits);
        let [pf, pt] = self.pool;
        let channels4 = stored_channels(y.extent(1)) / 4;
        let blocks = channels4.div_ceil(tile.channels4);
        let threads = y.extent(0) * y.extent(2) * y.extent(3).div_ceil(tile.windows);
        let [wx, wz, _] = super::fold(kernel, threads.div_ceil(tile.threads), limits)?;
        Ok(Dispatch {
            kernel,
            header: format!(
                "const PF = {pf}u; const PT = {pt}u; const QT = {}u; const OV = {}u; ",
                tile.windows, tile.channels4
            ),
            element: call.element,
            constants: vec![("WG", tile.threads as f64), self.activation.constant()],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("F", x.extent(2))
                .u32("T", x.extent(3))
                .u32("C4", stored_channels(x.extent(1)).div_ceil(4))
                .u32("FO", y.extent(2))
                .u32("TO", y.extent(3))
                .u32("O4", channels4)
                .u32("OP4", blocks * tile.channels4),
            workgroups: [wx, blocks as u32, wz],
        })
    }

    /// Kernel `[3 * 3, C, O]`, C and O padded with zeros.
    fn pack(&self, call: &Call, strategy: Strategy, weights: &[&HostTensor]) -> Vec<Packed> {
        let strategy = chosen(strategy, call);
        let channels4 = self.tile(strategy, &Limits::default()).channels4;
        let (o, c) = (weights[0].shape().extent(0), weights[0].shape().extent(1));
        let (padded_c, padded_o) = (stored_channels(c), o.next_multiple_of(4 * channels4));
        let mut w = vec![0.0; KERNEL * KERNEL * padded_c * padded_o];
        for (index, &value) in weights[0].data().iter().enumerate() {
            let (tap, channel, output) =
                (index % (KERNEL * KERNEL), index / (KERNEL * KERNEL) % c, index / (KERNEL * KERNEL) / c);
            w[(tap * padded_c + channel) * padded_o + output] = value;
        }
        let mut b = weights[1].data().to_vec();
        b.resize(padded_o, 0.0);
        vec![Packed::Element(w), Packed::F32(b)]
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

/// The strategy asked for, or the one for these shapes.
fn chosen(strategy: Strategy, call: &Call) -> Conv2dStrategy {
    match strategy {
        Strategy::Conv2d(strategy) => strategy,
        Strategy::Only if call.inputs[0].extent(1) == 1 => Conv2dStrategy::Plane,
        Strategy::Only => Conv2dStrategy::Direct,
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
