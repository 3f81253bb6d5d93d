//! The recurrence of a gated recurrent unit.

use super::{
    Binding, Call, Dispatch, DispatchError, INDEX, Kernel, KernelConfig, Limits, Operation, Packed, Params,
    Role, ShapeError, Tolerance, expect_count, expect_rank, expect_shape, split_workgroups,
};
use crate::tensor::{DType, HostTensor, Shape, stored_channels};

static KERNEL: Kernel = Kernel {
    name: "gru",
    source: include_str!("../../shaders/layers/gru.wgsl"),
    includes: &[&INDEX],
    bindings: &[
        Binding { name: "x", role: Role::Input(0) },
        Binding { name: "u", role: Role::Weight(0) },
        Binding { name: "b", role: Role::Weight(1) },
        Binding { name: "y", role: Role::Output },
    ],
};

/// Most rows of the recurrent weights that a thread keeps in registers, three columns each.
const HELD: usize = 64;

/// Units that the kernel's shared state holds.
const MAX_UNITS: usize = 256;

/// Input projections `[N, T, 3 U]`, recurrent weights `[U, 3 U]`, gates in the order z, r, h, and the recurrent bias of h
/// `[U]`, to all states `[N, T, U]`, from a state of zeros. The input projection is a [`super::Dense`] over all frames at
/// once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gru {
    /// `false`: as in Keras 1, hard sigmoid gates, the reset gate before the recurrent product (Cho et al. 2014,
    /// arXiv:1406.1078), no recurrent bias (it is not read). `true`: as in PyTorch, and in Keras 2 and later with
    /// `reset_after`, sigmoid gates, the reset gate after the recurrent product and its bias.
    pub reset_after: bool,
}

impl Operation for Gru {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let [x] = expect_count(self.name(), "number of inputs", inputs)?;
        let [u, b] = expect_count(self.name(), "number of weights", weights)?;
        expect_rank(self.name(), "x", 3, x)?;
        let units = u.extent(0);
        expect_shape(self.name(), "u", [units, 3 * units], u)?;
        expect_shape(self.name(), "b", [units], b)?;
        expect_shape(self.name(), "x", [x.extent(0), x.extent(1), 3 * units], x)?;
        Ok([x.extent(0), x.extent(1), units].into())
    }

    fn output_dtype(&self, _inputs: &[DType], _precision: DType) -> DType {
        DType::F32
    }

    fn reads_element(&self, _index: usize) -> bool {
        false
    }

    fn dispatch(
        &self,
        call: &Call,
        _config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        let (x, y) = (call.inputs[0], call.output);
        let (units, stored) = (y.extent(2), stored_channels(y.extent(2)));
        let threads = stored.next_multiple_of(32);
        let most = MAX_UNITS.min(limits.max_workgroup_threads as usize);
        if threads > most {
            return Err(DispatchError::Unsupported {
                kernel: KERNEL.name,
                what: "threads per workgroup",
                needs: threads as u64,
                has: most as u64,
            });
        }
        Ok(Dispatch {
            kernel: &KERNEL,
            header: format!("const HELD = {}u; const RESET_AFTER = {}; ", units.min(HELD), self.reset_after),
            element: DType::F32,
            constants: vec![("WG", threads as f64)],
            params: Params::new()
                .u32("N", x.extent(0))
                .u32("T", x.extent(1))
                .u32("U", units)
                .u32("XS", stored_channels(x.extent(2)))
                .u32("YS", stored),
            workgroups: split_workgroups(&KERNEL, x.extent(0), limits)?,
        })
    }

    /// Threads past the last unit read what it reads; rows have their padding.
    fn max_index(&self, call: &Call, _config: KernelConfig, _packed: &[Packed]) -> Option<Vec<usize>> {
        let units = call.output.extent(2);
        Some(vec![call.inputs[0].stored_len(), 3 * units * units, units, call.output.stored_len()])
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }

    fn pack(&self, _call: &Call, _config: KernelConfig, weights: &[&HostTensor]) -> Vec<Packed> {
        weights.iter().map(|weight| Packed::F32(weight.data().to_vec())).collect()
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * (call.output.len() * 3 * call.output.extent(2)) as u64
    }
}
