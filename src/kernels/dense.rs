//! Dense layers: a matrix product with bias and activation.

use super::{
    ACTIVATIONS, Absorbed, Activation, Binding, Call, Dispatch, DispatchError, INDEX, Kernel, Limits, Op,
    Operation, Packed, Params, Role, ShapeError, Strategy, expect_count, expect_shape, fold, pad_channels,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "dense",
    source: include_str!("../../shaders/layers/dense.wgsl"),
    appends: &[&INDEX, &ACTIVATIONS],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "w", role: Role::Weight(0) },
        Binding { name: "b", role: Role::Weight(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

const THREADS: u32 = 64;

/// `[N, ..., D]`, weights `[D, O]` and bias `[O]` to `[N, ..., O]`: `act(x w + b)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dense {
    /// Applied to each output.
    pub activation: Activation,
}

impl Operation for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [w, b] = expect_count(self.name(), "number of weights", weights)?;
        if x.rank() != 2 && x.rank() != 3 {
            return Err(ShapeError {
                op: self.name(),
                what: "x",
                expected: "[N, D] or [N, T, D]".into(),
                found: x.to_string(),
            });
        }
        expect_shape(self.name(), "w", [x.channels(), w.extent(1)], w)?;
        expect_shape(self.name(), "b", [w.extent(1)], b)?;
        let mut extents = x.extents().to_vec();
        extents[x.rank() - 1] = w.extent(1);
        Ok(Shape::new(&extents))
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn dispatch(&self, call: &Call, _strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let rows = x.len() / x.channels();
        let columns = stored_channels(y.channels()).div_ceil(4);
        // One output channel is stored as a plain scalar, which this kernel cannot write.
        if x.channels() < 2 || y.channels() < 2 {
            return Err(DispatchError::NotApplicable { kernel: KERNEL.name, call: format!("{x} to {y}") });
        }
        Ok(Dispatch {
            kernel: &KERNEL,
            header: String::new(),
            element: call.element,
            constants: vec![("WG", f64::from(THREADS)), self.activation.constant()],
            params: Params::new()
                .u32("R", rows)
                .u32("D4", stored_channels(x.channels()) / 4)
                .u32("O4", columns),
            workgroups: fold(&KERNEL, (rows * columns).div_ceil(THREADS as usize), limits)?,
        })
    }

    fn pack(&self, call: &Call, _strategy: Strategy, weights: &[&HostTensor]) -> Vec<Packed> {
        let (d, o) = (weights[0].shape().extent(0), weights[0].shape().extent(1));
        let mut w = Vec::new();
        for row in 0..stored_channels(d) {
            let values = if row < d { weights[0].row(row) } else { &[] };
            w.extend_from_slice(values);
            w.resize((row + 1) * stored_channels(o), 0.0);
        }
        debug_assert_eq!(stored_channels(call.output.channels()), stored_channels(o));
        vec![Packed::F32(w), Packed::F32(pad_channels(weights[1].data()))]
    }

    fn absorb(&self, weights: &[&HostTensor], next: &Op, _next_weights: &[&HostTensor]) -> Option<Absorbed> {
        match next {
            Op::Activation(activation) if self.activation == Activation::Identity => {
                let fused = Dense { activation: *activation };
                Some((Op::Dense(fused), weights.iter().map(|&w| w.clone()).collect()))
            }
            _ => None,
        }
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * (call.output.len() * call.inputs[0].channels()) as u64
    }
}
