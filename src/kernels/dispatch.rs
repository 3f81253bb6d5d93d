//! Dispatch of a kernel and limits of a device, as plain data.

use super::unroll::{constants, unroll, value};
use super::{Call, Packed};
use crate::error_kind::ErrorKind;
use crate::tensor::DType;

/// Error of an op that cannot run on a device with given limits.
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
        /// Missing resource or feature.
        what: &'static str,
        /// Needed amount.
        needs: u64,
        /// Amount that the device has.
        has: u64,
    },
    /// A configuration that cannot run tensors of these shapes was forced.
    #[error("{kernel}: cannot run {call}: choose another configuration")]
    NotApplicable {
        /// Kernel asked for.
        kernel: &'static str,
        /// Shapes of the call.
        call: String,
    },
}

impl DispatchError {
    /// A kernel, or an op, that cannot run a call.
    pub(crate) fn not_applicable(kernel: &'static str, call: &Call) -> DispatchError {
        let input = call.inputs.first().map(ToString::to_string).unwrap_or_default();
        DispatchError::NotApplicable { kernel, call: format!("{input} to {}", call.output) }
    }

    /// Returns the kind, by which a batch decides how to go on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DispatchError::NotApplicable { .. } => ErrorKind::Internal,
            _ => ErrorKind::Resource,
        }
    }
}

/// Limits and features of a device that kernels depend on; filled in by [`crate::gpu`].
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
    /// True if kernels may store f16.
    pub f16: bool,
    /// Threads of a subgroup, least and most, where kernels may use subgroup operations.
    pub subgroup: Option<[u32; 2]>,
    /// True if kernels may read the index of a thread's subgroup in its workgroup.
    pub subgroup_ids: bool,
    /// Sides of the square f16 matrices that a subgroup multiplies into f32 sums.
    pub matrices: Vec<u32>,
    /// True for a software driver on the CPU.
    pub software: bool,
    /// Maker of the device, for which the tuning table has entries of its own.
    pub vendor: Vendor,
}

/// Maker of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vendor {
    /// AMD.
    Amd,
    /// Apple.
    Apple,
    /// Intel.
    Intel,
    /// NVIDIA.
    Nvidia,
    /// Another one, or not known.
    #[default]
    Other,
}

impl Vendor {
    /// The maker with a PCI vendor number; drivers without PCI leave it at 0.
    pub fn of_pci(number: u32) -> Vendor {
        match number {
            0x1002 | 0x1022 => Vendor::Amd,
            0x106b => Vendor::Apple,
            0x8086 => Vendor::Intel,
            0x10de => Vendor::Nvidia,
            _ => Vendor::Other,
        }
    }

    /// Name in the tuning table and in records.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Amd => "amd",
            Vendor::Apple => "apple",
            Vendor::Intel => "intel",
            Vendor::Nvidia => "nvidia",
            Vendor::Other => "other",
        }
    }
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
            subgroup: None,
            subgroup_ids: false,
            matrices: Vec::new(),
            software: false,
            vendor: Vendor::Other,
        }
    }
}

/// Source of the contents of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Input tensor `i` of the step.
    Input(usize),
    /// Array `i` of [`super::Operation::pack`].
    Weight(usize),
    /// The step's output tensor.
    Output,
}

/// One buffer of a kernel. Its slot is its place in the table plus one: slot 0 is `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name in the shader.
    pub name: &'static str,
    /// Tensor or weights that are bound.
    pub role: Role,
}

/// A compute shader and the common pieces that it includes.
#[derive(Debug)]
pub struct Kernel {
    /// File name without `.wgsl`, with a suffix where kernels share a file.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
    /// Files of `shaders/common/` that follow it in the compiled text, `element_*` not counted.
    pub includes: &'static [&'static Include],
    /// Its buffers, slot 1 first.
    pub bindings: &'static [Binding],
}

/// A file of `shaders/common/`.
#[derive(Debug)]
pub struct Include {
    /// File name without `.wgsl`.
    pub name: &'static str,
    /// Text of the file.
    pub source: &'static str,
}

/// `Element` is f32.
pub static ELEMENT_F32: Include =
    Include { name: "element_f32", source: include_str!("../../shaders/common/element_f32.wgsl") };
/// `Element` is f16.
pub static ELEMENT_F16: Include =
    Include { name: "element_f16", source: include_str!("../../shaders/common/element_f16.wgsl") };
/// Activation functions by index.
pub static ACTIVATIONS: Include =
    Include { name: "activation", source: include_str!("../../shaders/common/activation.wgsl") };
/// Sizes, bindings and epilogue of convolutions.
pub static CONV2D: Include =
    Include { name: "conv2d", source: include_str!("../../shaders/common/conv2d.wgsl") };
/// Workgroup indices of folded dispatches.
pub static INDEX: Include =
    Include { name: "index", source: include_str!("../../shaders/common/index.wgsl") };
/// Reductions over the threads of a workgroup.
pub static REDUCE: Include =
    Include { name: "reduce", source: include_str!("../../shaders/common/reduce.wgsl") };
/// The same through subgroups.
pub static REDUCE_SUBGROUP: Include =
    Include { name: "reduce_subgroup", source: include_str!("../../shaders/common/reduce_subgroup.wgsl") };

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

    /// Appends a `u32` field. Values past `u32` saturate; such tensors are refused when the dispatch is planned.
    pub fn u32(mut self, name: &'static str, value: usize) -> Params {
        self.0.push((name, Value::U32(u32::try_from(value).unwrap_or(u32::MAX))));
        self
    }

    /// Appends an `f32` field.
    pub fn f32(mut self, name: &'static str, value: f32) -> Params {
        self.0.push((name, Value::F32(value)));
        self
    }

    /// The same fields, one with another value.
    fn with(mut self, name: &str, value: u32) -> Params {
        self.0.iter_mut().filter(|(field, _)| *field == name).for_each(|field| field.1 = Value::U32(value));
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
    /// Kernel to run.
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

/// Name of the parameter of kernels whose dispatches can be cut into slices: the first workgroup along x, which is folded
/// over x and z.
pub(super) const FIRST_WORKGROUP: &str = "FIRST";

impl Dispatch {
    /// Cuts the dispatch into `parts` slices of its workgroups, or fewer; together they compute the same. One where the
    /// kernel has no parameter for it.
    pub fn sliced(&self, parts: usize, limits: &Limits) -> Vec<Dispatch> {
        let can_begin_later = self.params.fields().iter().any(|(name, _)| *name == FIRST_WORKGROUP);
        let [x, y, z] = self.workgroups;
        let total = u64::from(x) * u64::from(z);
        let count = total.div_ceil(parts.max(1) as u64).max(1);
        let (Ok(count), Ok(total)) = (u32::try_from(count), u32::try_from(total)) else {
            return vec![self.clone()];
        };
        if !can_begin_later || count >= total || count > limits.max_workgroups_per_axis {
            return vec![self.clone()];
        }
        let slice = |first: u32| Dispatch {
            params: self.params.clone().with(FIRST_WORKGROUP, first),
            workgroups: [count.min(total - first), y, 1],
            ..self.clone()
        };
        (0..total).step_by(count as usize).map(slice).collect()
    }

    /// The shader text: `enable`, header, kernel, appended pieces. A kernel without unrolled loops
    /// keeps its own line numbers.
    pub fn source(&self) -> String {
        self.source_of(self.kernel.source)
    }

    /// The same around another kernel that keeps this one's contract.
    pub fn source_of(&self, kernel: &str) -> String {
        let (enable, element) = match self.element {
            DType::F32 => ("", &ELEMENT_F32),
            DType::F16 => ("enable f16; ", &ELEMENT_F16),
        };
        let mut text = format!("{enable}{}{}", self.header, unroll(&self.header, kernel));
        for piece in self.kernel.includes.iter().copied().chain([element]) {
            text.push('\n');
            text.push_str(piece.source);
        }
        text
    }
}

/// Refuses what the device cannot bind or count. Four bytes an element bound every storage type, and keep
/// each element index within `u32`.
pub(super) fn check(dispatch: &Dispatch, call: &Call, limits: &Limits) -> Result<(), DispatchError> {
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
    let most = dispatch.workgroups.into_iter().max().unwrap_or(0);
    if most > limits.max_workgroups_per_axis {
        let (workgroups, limit) = (u64::from(most), limits.max_workgroups_per_axis);
        return Err(DispatchError::TooManyWorkgroups { kernel, workgroups, limit });
    }
    let [threads, shared] = workgroup_needs(dispatch);
    let needs = [
        ("storage buffers", dispatch.kernel.bindings.len() as u64, limits.max_storage_buffers),
        ("threads per workgroup", threads, limits.max_workgroup_threads),
        ("bytes of workgroup memory", shared, limits.max_shared_bytes),
    ];
    match needs.into_iter().find(|&(_, needs, has)| needs > u64::from(has)) {
        Some((what, needs, has)) => {
            Err(DispatchError::Unsupported { kernel, what, needs, has: u64::from(has) })
        }
        None => Ok(()),
    }
}

/// Threads and bytes of workgroup memory of a workgroup, as far as the built-in kernel's text states them in plain
/// products. Tiled kernels that state them otherwise compare them with the limits themselves.
fn workgroup_needs(dispatch: &Dispatch) -> [u64; 2] {
    let texts = dispatch.kernel.includes.iter().map(|piece| piece.source).chain([dispatch.kernel.source]);
    let header = dispatch.header.replace("; ", ";\n");
    let specific = constants(&[&*header, dispatch.kernel.source].join("\n"));
    let overrides = dispatch.constants.iter().map(|&(name, value)| (name.to_string(), value as u32));
    let known = specific.into_iter().chain(overrides).collect();
    let (mut threads, mut bytes) = (0, 0);
    for line in texts.flat_map(str::lines) {
        let code = line.split("//").next().unwrap_or_default();
        if let Some((_, rest)) = code.split_once("@workgroup_size(") {
            let size = rest.split_once(')').map_or(rest, |(size, _)| size);
            let plain = size.parse().ok();
            threads = plain.or_else(|| value(size, &known)).map_or(threads, u64::from);
        }
        let array = code.strip_prefix("var<workgroup>").and_then(|rest| rest.split_once("array<"));
        let array = array.and_then(|(_, array)| array.trim_end().strip_suffix(">;"));
        if let Some((element, len)) = array.and_then(|array| array.rsplit_once(", ")) {
            let size = match element {
                "f32" => 4,
                "vec2<f32>" => 8,
                "vec4<f32>" => 16,
                "Element4" => 4 * dispatch.element.size() as u64,
                _ => continue,
            };
            bytes += value(len, &known).map_or(0, |len| u64::from(len) * size);
        }
    }
    [threads, bytes]
}

/// Returns true if every value that the kernel may touch, as its op states, lies inside its bindings: tensors as they
/// are stored, weights as they are packed. Only such kernels run without checks on the device.
pub fn is_within_bounds(call: &Call, bounds: &[usize], kernel: &Kernel, packed: &[Packed]) -> bool {
    let held = |role: Role| match role {
        Role::Input(index) => call.inputs.get(index).map(|shape| shape.stored_len()),
        Role::Output => Some(call.output.stored_len()),
        Role::Weight(index) => packed.get(index).map(Packed::len),
    };
    let mut pairs = kernel.bindings.iter().zip(bounds);
    bounds.len() == kernel.bindings.len()
        && pairs.all(|(binding, &bound)| held(binding.role).is_some_and(|held| bound <= held))
}

/// `count` workgroups of a kernel whose index is linear, folded over x and y where one axis cannot hold them.
pub(super) fn split_workgroups(
    kernel: &'static Kernel,
    count: usize,
    limits: &Limits,
) -> Result<[u32; 3], DispatchError> {
    let per_axis = limits.max_workgroups_per_axis as usize;
    // A device without compute shaders has a limit of zero.
    let rows = count.div_ceil(per_axis.max(1)).max(1);
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
pub(super) fn elementwise(
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
        workgroups: split_workgroups(
            kernel,
            call.output.stored_len().div_ceil(ELEMENTWISE_THREADS as usize),
            limits,
        )?,
    })
}

/// Threads of a workgroup of the element-wise kernels.
const ELEMENTWISE_THREADS: u32 = 64;
