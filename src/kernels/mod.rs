//! What can be computed on a device, as plain data: ops, the kernels that run them, and everything a
//! dispatch needs. Nothing here touches a device; see [`crate::gpu`] for that.
//!
//! One file per op: its config, shape rule and host half. [`Op`] is the enum over all of them, so that a new
//! op makes the compiler list the places to fill in. Not here: which op follows which (see [`crate::plan`])
//! and what an op means in numbers (its CPU twin of the same name in [`crate::reference`]).

use crate::error::ErrorKind;
use crate::tensor::{DType, HostTensor, Shape};

mod activation;
mod batch_norm;
mod batch_stats;
mod clip_stats;
mod concat;
mod conv2d;
mod dense;
mod gru;
mod last_state;
mod log_mel;
mod max_pool2d;
mod mean_pool2d;
mod normalize;
mod normalize_channels;
mod pad_time;

pub use activation::Activation;
pub use batch_norm::{Axis, BatchNorm};
pub use batch_stats::BatchStats;
pub use clip_stats::{ClipStats, Scope};
pub use concat::Concat;
pub use conv2d::{Conv2d, Conv2dStrategy};
pub use dense::Dense;
pub use gru::Gru;
pub use last_state::LastState;
pub use log_mel::{FrameCount, LogMel, Padding};
pub use max_pool2d::MaxPool2d;
pub use mean_pool2d::MeanPool2d;
pub use normalize::{Level, Normalize};
pub use normalize_channels::NormalizeChannels;
pub use pad_time::PadTime;

/// Why an op cannot take tensors of these shapes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {what}: expected {expected}, found {found}")]
pub struct ShapeError {
    /// Name of the op.
    pub op: &'static str,
    /// Which tensor or property.
    pub what: &'static str,
    /// What the op can take.
    pub expected: String,
    /// What it was given.
    pub found: String,
}

/// Why an op cannot run on a device with these limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// A tensor is larger than one binding of the device.
    #[error(
        "{kernel}: binding {binding:?} needs {bytes} bytes, the device binds at most {limit}: use a smaller batch"
    )]
    BindingTooLarge {
        /// Kernel that would have run.
        kernel: &'static str,
        /// Name of the binding.
        binding: &'static str,
        /// Bytes needed.
        bytes: u64,
        /// Bytes the device can bind.
        limit: u64,
    },
    /// More workgroups than the device can be given.
    #[error("{kernel}: {workgroups} workgroups exceed the device's {limit} per axis: use a smaller batch")]
    TooManyWorkgroups {
        /// Kernel that would have run.
        kernel: &'static str,
        /// Workgroups needed.
        workgroups: u64,
        /// Workgroups per axis.
        limit: u32,
    },
    /// The device lacks something that the kernel needs.
    #[error("{kernel}: needs {needs} {what}, the device has {has}: choose another device or the CPU")]
    Unsupported {
        /// Kernel that would have run.
        kernel: &'static str,
        /// What is missing.
        what: &'static str,
        /// How much of it is needed.
        needs: u64,
        /// How much of it the device has.
        has: u64,
    },
    /// A strategy that cannot run tensors of these shapes was forced.
    #[error("{kernel}: cannot run {call}: choose another strategy")]
    NotApplicable {
        /// Kernel asked for.
        kernel: &'static str,
        /// What it was asked to run.
        call: String,
    },
}

impl DispatchError {
    /// What a batch should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DispatchError::NotApplicable { .. } => ErrorKind::Internal,
            _ => ErrorKind::Resource,
        }
    }
}

/// What a device can do, in our own words; filled in by [`crate::gpu`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Workgroups per axis of one dispatch.
    pub max_workgroups_per_axis: u32,
    /// Threads of one workgroup.
    pub max_workgroup_threads: u32,
    /// Bytes of shared memory of one workgroup.
    pub max_shared_bytes: u32,
    /// Storage buffers one kernel can bind.
    pub max_storage_buffers: u32,
    /// Bytes of one storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of one buffer.
    pub max_buffer_bytes: u64,
    /// Whether kernels may store f16.
    pub f16: bool,
    /// Whether the "device" is a software driver on the CPU.
    pub software: bool,
}

impl Default for Limits {
    /// The limits every WebGPU device has.
    fn default() -> Limits {
        Limits {
            max_workgroups_per_axis: 65_535,
            max_workgroup_threads: 256,
            max_shared_bytes: 16 << 10,
            max_storage_buffers: 8,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            f16: false,
            software: false,
        }
    }
}

/// Where the contents of a binding come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Input tensor `i` of the step.
    Input(usize),
    /// Array `i` of [`Operation::pack`].
    Weight(usize),
    /// The step's output tensor.
    Output,
}

/// One buffer of a kernel. Its slot is its place in the table plus one: slot 0 is `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name in the shader.
    pub name: &'static str,
    /// What is bound there.
    pub role: Role,
}

/// A compute shader and what is appended to it.
#[derive(Debug)]
pub struct Kernel {
    /// File name without `.wgsl`.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
    /// Pieces of `shaders/common/` appended to it, `element_*` not counted.
    pub appends: &'static [&'static Piece],
    /// Its buffers, slot 1 first.
    pub bindings: &'static [Binding],
}

/// A file of `shaders/common/`.
#[derive(Debug)]
pub struct Piece {
    /// File name without `.wgsl`.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
}

/// `Element` is f32.
pub static ELEMENT_F32: Piece =
    Piece { name: "element_f32", source: include_str!("../../shaders/common/element_f32.wgsl") };
/// `Element` is f16.
pub static ELEMENT_F16: Piece =
    Piece { name: "element_f16", source: include_str!("../../shaders/common/element_f16.wgsl") };
/// Activation functions by index.
pub static ACTIVATIONS: Piece =
    Piece { name: "activation", source: include_str!("../../shaders/common/activation.wgsl") };
/// Workgroup indices of folded dispatches.
pub static INDEX: Piece = Piece { name: "index", source: include_str!("../../shaders/common/index.wgsl") };
/// Reductions over the threads of a workgroup.
pub static REDUCE: Piece = Piece { name: "reduce", source: include_str!("../../shaders/common/reduce.wgsl") };

/// A value of a `Params` field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// `u32` in the shader.
    U32(u32),
    /// `f32` in the shader.
    F32(f32),
}

/// The uniform of a dispatch: four-byte fields in the shader's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Vec<(&'static str, Value)>);

impl Params {
    /// No fields yet.
    pub fn new() -> Params {
        Params::default()
    }

    /// Appends a `u32` field. Values past `u32` saturate: [`Dispatch::check`] refuses such tensors before.
    pub fn u32(mut self, name: &'static str, value: usize) -> Params {
        self.0.push((name, Value::U32(u32::try_from(value).unwrap_or(u32::MAX))));
        self
    }

    /// Appends an `f32` field.
    pub fn f32(mut self, name: &'static str, value: f32) -> Params {
        self.0.push((name, Value::F32(value)));
        self
    }

    /// Name and value of each field; field `i` lies at byte `4 * i`.
    pub fn fields(&self) -> &[(&'static str, Value)] {
        &self.0
    }

    /// Bytes as the shader reads them, padded to 16.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|(_, value)| match value {
                Value::U32(v) => v.to_le_bytes(),
                Value::F32(v) => v.to_le_bytes(),
            })
            .collect();
        bytes.resize(bytes.len().next_multiple_of(16).max(16), 0);
        bytes
    }
}

/// Everything needed to run one kernel once; plain data.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which kernel.
    pub kernel: &'static Kernel,
    /// Lines of `const` in front of the kernel, for what an `override` cannot do.
    pub header: String,
    /// Storage type behind `Element`.
    pub element: DType,
    /// Values of the kernel's `override`s.
    pub constants: Vec<(&'static str, f64)>,
    /// The uniform.
    pub params: Params,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
}

impl Dispatch {
    /// The shader text: `enable`, header, kernel, appended pieces. The kernel keeps its own line numbers.
    pub fn source(&self) -> String {
        let (enable, element) = match self.element {
            DType::F32 => ("", &ELEMENT_F32),
            DType::F16 => ("enable f16; ", &ELEMENT_F16),
        };
        let mut text = format!("{enable}{}{}", self.header, self.kernel.source);
        for piece in self.kernel.appends.iter().copied().chain([element]) {
            text.push('\n');
            text.push_str(piece.source);
        }
        text
    }
}

/// An op on given tensors: what its host half plans from.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Shapes of the input tensors.
    pub inputs: &'a [Shape],
    /// Shapes of the weight tensors.
    pub weights: &'a [Shape],
    /// Shape of the output tensor.
    pub output: Shape,
    /// Storage type behind `Element`.
    pub element: DType,
}

/// Which of several kernels runs an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// The op has one kernel.
    Only,
    /// A convolution's.
    Conv2d(Conv2dStrategy),
}

/// A weight array as a kernel wants it.
#[derive(Clone, Debug, PartialEq)]
pub enum Packed {
    /// Stored in the plan's `Element` type.
    Element(Vec<f32>),
    /// Always f32.
    F32(Vec<f32>),
    /// Always u32.
    U32(Vec<u32>),
}

/// What a fused op became: the op and its weights.
pub type Absorbed = (Op, Vec<HostTensor>);

/// What every op can say about itself.
pub trait Operation {
    /// Name of the op, as in its file names.
    fn name(&self) -> &'static str;

    /// Output shape, or why the op cannot take these tensors.
    ///
    /// # Errors
    /// [`ShapeError`] naming the tensor, what was expected and what was found.
    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError>;

    /// Storage type of the output in a plan that stores activations as `precision`.
    fn output_dtype(&self, inputs: &[DType], precision: DType) -> DType {
        inputs.first().copied().unwrap_or(precision)
    }

    /// Whether a clip's result depends on the other clips of its batch.
    fn couples_clips(&self) -> bool {
        false
    }

    /// The strategies that can run `call`, the one to take by default first.
    fn strategies(&self, _call: &Call, _limits: &Limits) -> Vec<Strategy> {
        vec![Strategy::Only]
    }

    /// Everything needed to run this on a device with these limits.
    ///
    /// # Errors
    /// [`DispatchError`] when the device or the strategy cannot.
    fn dispatch(&self, call: &Call, strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError>;

    /// The weights as the strategy's kernel wants them, in the order of its [`Role::Weight`]s.
    fn pack(&self, call: &Call, strategy: Strategy, weights: &[&HostTensor]) -> Vec<Packed>;

    /// This op with the op after it taken into it, or `None` when one kernel cannot do both.
    fn absorb(
        &self,
        _weights: &[&HostTensor],
        _next: &Op,
        _next_weights: &[&HostTensor],
    ) -> Option<Absorbed> {
        None
    }

    /// Floating-point operations (a multiplication and an addition are two) of one call, epilogues not counted.
    fn flops(&self, call: &Call) -> u64 {
        call.output.len() as u64
    }
}

/// Every op there is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is documented at its config")]
pub enum Op {
    Activation(Activation),
    BatchNorm(BatchNorm),
    ClipStats(ClipStats),
    Conv2d(Conv2d),
    Dense(Dense),
    Gru(Gru),
    LastState(LastState),
    LogMel(LogMel),
    MaxPool2d(MaxPool2d),
    Normalize(Normalize),
    BatchStats(BatchStats),
    Concat(Concat),
    MeanPool2d(MeanPool2d),
    NormalizeChannels(NormalizeChannels),
    PadTime(PadTime),
}

impl Op {
    fn operation(&self) -> &dyn Operation {
        match self {
            Op::Activation(op) => op,
            Op::BatchNorm(op) => op,
            Op::ClipStats(op) => op,
            Op::Conv2d(op) => op,
            Op::Dense(op) => op,
            Op::Gru(op) => op,
            Op::LastState(op) => op,
            Op::LogMel(op) => op,
            Op::MaxPool2d(op) => op,
            Op::Normalize(op) => op,
            Op::BatchStats(op) => op,
            Op::Concat(op) => op,
            Op::MeanPool2d(op) => op,
            Op::NormalizeChannels(op) => op,
            Op::PadTime(op) => op,
        }
    }
}

impl Operation for Op {
    fn name(&self) -> &'static str {
        self.operation().name()
    }

    fn output_shape(&self, inputs: &[Shape], weights: &[Shape]) -> Result<Shape, ShapeError> {
        let shape = self.operation().output_shape(inputs, weights)?;
        match shape.checked_len() {
            Some(len) if len > 0 => Ok(shape),
            _ => Err(ShapeError {
                op: self.name(),
                what: "output",
                expected: "at least one element".into(),
                found: shape.to_string(),
            }),
        }
    }

    fn output_dtype(&self, inputs: &[DType], precision: DType) -> DType {
        self.operation().output_dtype(inputs, precision)
    }

    fn couples_clips(&self) -> bool {
        self.operation().couples_clips()
    }

    fn strategies(&self, call: &Call, limits: &Limits) -> Vec<Strategy> {
        self.operation().strategies(call, limits)
    }

    fn dispatch(&self, call: &Call, strategy: Strategy, limits: &Limits) -> Result<Dispatch, DispatchError> {
        let dispatch = self.operation().dispatch(call, strategy, limits)?;
        check(&dispatch, call, limits)?;
        Ok(dispatch)
    }

    fn pack(&self, call: &Call, strategy: Strategy, weights: &[&HostTensor]) -> Vec<Packed> {
        self.operation().pack(call, strategy, weights)
    }

    fn absorb(&self, weights: &[&HostTensor], next: &Op, next_weights: &[&HostTensor]) -> Option<Absorbed> {
        self.operation().absorb(weights, next, next_weights)
    }

    fn flops(&self, call: &Call) -> u64 {
        self.operation().flops(call)
    }
}

/// Refuses what the device cannot bind or count. Four bytes an element bound every storage type, and keep
/// each element index within `u32`.
fn check(dispatch: &Dispatch, call: &Call, limits: &Limits) -> Result<(), DispatchError> {
    let kernel = dispatch.kernel.name;
    let limit = limits.max_binding_bytes.min(u64::from(u32::MAX));
    for binding in dispatch.kernel.bindings {
        let shape = match binding.role {
            Role::Input(index) => call.inputs[index],
            Role::Output => call.output,
            Role::Weight(_) => continue,
        };
        let bytes = shape.stored_len() as u64 * 4;
        if bytes > limit {
            return Err(DispatchError::BindingTooLarge { kernel, binding: binding.name, bytes, limit });
        }
    }
    let buffers = dispatch.kernel.bindings.len() as u64;
    let has = u64::from(limits.max_storage_buffers);
    if buffers > has {
        return Err(DispatchError::Unsupported { kernel, what: "storage buffers", needs: buffers, has });
    }
    Ok(())
}

/// `count` workgroups of a kernel whose index is linear, folded over x and y where one axis cannot hold them.
fn fold(kernel: &'static Kernel, count: usize, limits: &Limits) -> Result<[u32; 3], DispatchError> {
    let per_axis = limits.max_workgroups_per_axis as usize;
    let rows = count.div_ceil(per_axis).max(1);
    if rows > per_axis {
        return Err(DispatchError::TooManyWorkgroups {
            kernel: kernel.name,
            workgroups: count as u64,
            limit: limits.max_workgroups_per_axis,
        });
    }
    Ok([count.div_ceil(rows).max(1) as u32, rows as u32, 1])
}

/// A kernel with one thread per stored output element and a linear index.
fn elementwise(
    kernel: &'static Kernel,
    call: &Call,
    constants: &[(&'static str, f64)],
    params: Params,
    limits: &Limits,
) -> Result<Dispatch, DispatchError> {
    Ok(Dispatch {
        kernel,
        header: String::new(),
        element: call.element,
        constants: [&[("WG", f64::from(ELEMENTWISE_THREADS))], constants].concat(),
        params,
        workgroups: fold(kernel, call.output.stored_len().div_ceil(ELEMENTWISE_THREADS as usize), limits)?,
    })
}

/// Threads of a workgroup of the element-wise kernels.
const ELEMENTWISE_THREADS: u32 = 64;

/// Fails unless `found` has `rank` axes.
fn expect_rank(op: &'static str, what: &'static str, rank: usize, found: Shape) -> Result<(), ShapeError> {
    if found.rank() == rank {
        return Ok(());
    }
    Err(ShapeError { op, what, expected: format!("{rank} axes"), found: found.to_string() })
}

/// Fails unless `found` is `expected`.
fn expect_shape(
    op: &'static str,
    what: &'static str,
    expected: impl Into<Shape>,
    found: Shape,
) -> Result<(), ShapeError> {
    let expected = expected.into();
    if found == expected {
        return Ok(());
    }
    Err(ShapeError { op, what, expected: expected.to_string(), found: found.to_string() })
}

/// The `count` inputs or weights of an op, as an array.
fn expect_count<const COUNT: usize>(
    op: &'static str,
    what: &'static str,
    found: &[Shape],
) -> Result<[Shape; COUNT], ShapeError> {
    found.try_into().map_err(|_| ShapeError {
        op,
        what,
        expected: COUNT.to_string(),
        found: found.len().to_string(),
    })
}

/// `values` padded with zeros to the stored number of channels.
fn pad_channels(values: &[f32]) -> Vec<f32> {
    let mut padded = values.to_vec();
    padded.resize(crate::tensor::stored_channels(values.len()), 0.0);
    padded
}
