//! The mean of each channel over frequency and time.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, Limits, Operation, Packed, Params, REDUCE, Role,
    ShapeError, Strategy, expect_count, expect_rank, fold,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "mean_pool2d",
    source: include_str!("../../shaders/layers/mean_pool2d.wgsl"),
    appends: &[&INDEX, &REDUCE],
    bindings: &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }],
};

/// Threads that share one clip's four channels; a power of two.
const THREADS: u32 = 64;

/// `[N, C, F, T]` to `[N, C]`: the mean over frequency and time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeanPool2d;

impl Operation for MeanPool2d {
    fn name(&self) -> &'static str {
        "mean_pool2d"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 4, x)?;
        Ok([x.extent(0), x.extent(1)].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn dispatch(&self, call: &Call, _strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let x = call.inputs[0];
        // One channel is stored as plain scalars, which this kernel does not read.
        if x.extent(1) < 2 {
            return Err(DispatchError::NotApplicable { kernel: KERNEL.name, call: x.to_string() });
        }
        let blocks = stored_channels(x.extent(1)) / 4;
        Ok(Dispatch {
            kernel: &KERNEL,
            header: String::new(),
            element: call.element,
            constants: vec![("WG", f64::from(THREADS))],
            params: Params::new()
                .u32("ROWS", x.extent(0) * blocks)
                .u32("L", x.extent(2) * x.extent(3))
                .u32("C4", blocks),
            workgroups: fold(&KERNEL, x.extent(0) * blocks, limits)?,
        })
    }

    fn pack(&self, _call: &Call, _strategy: Strategy, _weights: &[&HostTensor]) -> Vec<Packed> {
        Vec::new()
    }

    fn flops(&self, call: &Call) -> u64 {
        call.inputs[0].len() as u64
    }
}
