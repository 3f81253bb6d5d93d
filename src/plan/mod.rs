//! Plans: sequences of ops on tensors, as plain data that is the same for every executor.
//!
//! [`Builder`] makes a plan unfused, one step per layer, so that the output of any layer can be requested
//! ([`Plan::tapped`]); [`Plan::fused`] then fuses steps. Shapes have the batch as their outermost extent;
//! [`Plan::with_batch`] changes it in all tensors. Not here: devices, buffers, shaders.

use std::sync::Arc;

use crate::error_kind::ErrorKind;
use crate::kernels::{Call, Op, Operation, ShapeError};
use crate::tensor::{DType, HostTensor, Shape};

mod builder;
mod fuse;
mod memory;

pub use crate::kernels::{Activation, Axis, ClipStats, Level, Scope};
pub use builder::{Builder, ConvBlock, GruWeights};
pub use memory::Arena;

/// Index of a tensor in [`Plan::tensors`].
pub type TensorId = usize;

/// Error of building a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The tensors of a step do not fit together.
    #[error("step {step:?}: {source}")]
    Shape {
        /// Name of the step.
        step: String,
        /// Mismatch of shapes.
        source: ShapeError,
    },
    /// A tap names no tensor of the plan.
    #[error("unknown step {name:?}: expected one of {}", known.join(", "))]
    UnknownTap {
        /// Requested name.
        name: String,
        /// Valid names.
        known: Vec<String>,
    },
}

impl PlanError {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PlanError::Shape { .. } => ErrorKind::Internal,
            PlanError::UnknownTap { .. } => ErrorKind::Input,
        }
    }
}

/// Error of the inputs of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Wrong number of inputs.
    #[error("the plan takes {expected} inputs, found {found}")]
    Count {
        /// Expected number.
        expected: usize,
        /// Actual number.
        found: usize,
    },
    /// Wrong shape of an input.
    #[error("input {name:?}: expected {expected}, found {found}")]
    Shape {
        /// Name of the input.
        name: String,
        /// Expected shape.
        expected: Shape,
        /// Actual shape.
        found: Shape,
    },
}

/// Source of a tensor's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Input `i` of the plan.
    Input(usize),
    /// Constant.
    Weight(Arc<HostTensor>),
    /// Output of a step.
    Step,
    /// View of another tensor's memory: `[N, C, 1, T]` as `[N, T, C]`, or `[N, C, 1, 1]` as `[N, C]`.
    View(TensorId),
}

/// A tensor of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the layer that computes it, unique among the plan's activations.
    pub name: String,
    /// Shape, including the batch.
    pub shape: Shape,
    /// Storage type on a device.
    pub dtype: DType,
    /// Source of its values.
    pub origin: Origin,
}

/// Step of a plan: one op on tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of the (first) layer.
    pub name: String,
    /// The op.
    pub op: Op,
    /// Input activations.
    pub inputs: Vec<TensorId>,
    /// Weights.
    pub weights: Vec<TensorId>,
    /// Output tensor.
    pub output: TensorId,
}

/// A sequence of steps with its tensors. Made by [`Builder::finish`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    tensors: Vec<Tensor>,
    steps: Vec<Step>,
    inputs: Vec<TensorId>,
    outputs: Vec<(String, TensorId)>,
    precision: DType,
}

impl Plan {
    /// All tensors; a [`TensorId`] is an index in this list.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Steps in order of execution.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Input tensors, in the order that executors expect.
    pub fn inputs(&self) -> &[TensorId] {
        &self.inputs
    }

    /// Named outputs, in the order that executors return.
    pub fn outputs(&self) -> &[(String, TensorId)] {
        &self.outputs
    }

    /// Index of the output called `name`.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|(output, _)| output == name)
    }

    /// Number of clips per batch.
    pub fn batch(&self) -> usize {
        self.inputs.first().map_or(0, |&id| self.tensors[id].shape.extent(0))
    }

    /// True if the result of a clip depends on the other clips of its batch.
    pub fn depends_on_batch(&self) -> bool {
        self.steps.iter().any(|step| step.op.depends_on_batch())
    }

    /// Storage type of activations.
    pub fn precision(&self) -> DType {
        self.precision
    }

    /// Returns the plan for batches of `batch` clips.
    pub fn with_batch(&self, batch: usize) -> Plan {
        let mut plan = self.clone();
        for tensor in &mut plan.tensors {
            if !matches!(tensor.origin, Origin::Weight(_)) {
                tensor.shape = tensor.shape.with_batch(batch);
            }
        }
        plan
    }

    /// Returns the plan with activations stored as `precision`, where ops allow it.
    pub fn with_precision(&self, precision: DType) -> Plan {
        let mut plan = self.clone();
        plan.precision = precision;
        for id in 0..plan.tensors.len() {
            let producer = plan.steps.iter().find(|step| step.output == id);
            let mut readers = plan.steps.iter().flat_map(|step| {
                step.inputs
                    .iter()
                    .enumerate()
                    .filter(move |(_, input)| **input == id)
                    .map(move |(i, _)| (step, i))
            });
            let dtype = match (&plan.tensors[id].origin, producer) {
                (Origin::Input(_), _) if readers.all(|(step, i)| step.op.reads_element(i)) => precision,
                (Origin::View(source), _) => plan.tensors[*source].dtype,
                (Origin::Step, Some(step)) => {
                    let inputs: Vec<_> = step.inputs.iter().map(|&input| plan.tensors[input].dtype).collect();
                    step.op.output_dtype(&inputs, precision)
                }
                _ => DType::F32,
            };
            plan.tensors[id].dtype = dtype;
        }
        plan
    }

    /// Returns the plan with the activations called `names` as additional outputs.
    ///
    /// # Errors
    /// [`PlanError::UnknownTap`] for a name that no activation has.
    pub fn tapped<S: AsRef<str>>(&self, names: &[S]) -> Result<Plan, PlanError> {
        let mut plan = self.clone();
        for name in names.iter().map(AsRef::as_ref) {
            if plan.output_index(name).is_some() {
                continue;
            }
            let id = self.find(name).ok_or_else(|| self.unknown_tap(name))?;
            plan.outputs.push((name.to_string(), id));
        }
        Ok(plan)
    }

    /// Returns the plan with only the outputs called `names`, and the steps that they need.
    pub fn only_outputs<S: AsRef<str>>(&self, names: &[S]) -> Plan {
        let mut plan = self.clone();
        plan.outputs.retain(|(output, _)| names.iter().any(|name| name.as_ref() == output));
        plan.drop_unused_steps();
        plan
    }

    /// Returns the plan with the activation called `name` as its input, and only the steps after it.
    ///
    /// # Errors
    /// [`PlanError::UnknownTap`] for a name that no activation has.
    pub fn starting_at(&self, name: &str) -> Result<Plan, PlanError> {
        let mut plan = self.clone();
        let id = plan.find(name).ok_or_else(|| self.unknown_tap(name))?;
        plan.steps.retain(|step| step.output != id);
        plan.tensors[id].origin = Origin::Input(0);
        plan.inputs = vec![id];
        plan.drop_unused_steps();
        Ok(plan)
    }

    fn unknown_tap(&self, name: &str) -> PlanError {
        let known = self.activations().map(|tensor| tensor.name.clone()).collect();
        PlanError::UnknownTap { name: name.to_string(), known }
    }

    fn drop_unused_steps(&mut self) {
        let mut needed: Vec<bool> = vec![false; self.tensors.len()];
        for (_, id) in &self.outputs {
            needed[self.root(*id)] = true;
        }
        let mut kept = Vec::new();
        for step in self.steps.iter().rev().filter(|step| {
            // Steps come in order, so a later step has already marked what it reads.
            let wanted = needed[step.output];
            if wanted {
                step.inputs.iter().for_each(|&id| needed[self.root(id)] = true);
            }
            wanted
        }) {
            kept.push(step.clone());
        }
        kept.reverse();
        self.steps = kept;
    }

    /// Tensors that are neither inputs nor weights.
    fn activations(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|tensor| matches!(tensor.origin, Origin::Step | Origin::View(_)))
    }

    fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors
            .iter()
            .position(|tensor| tensor.name == name && matches!(tensor.origin, Origin::Step | Origin::View(_)))
    }

    /// Base tensor of a view; `id` itself if it is not a view.
    pub fn root(&self, id: TensorId) -> TensorId {
        match self.tensors[id].origin {
            Origin::View(source) => self.root(source),
            _ => id,
        }
    }

    /// For each tensor, the last step that reads it; `usize::MAX` for outputs, `None` if it is never read.
    pub fn last_uses(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.tensors.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for &id in step.inputs.iter().chain(&step.weights) {
                last[id] = Some(index);
                last[self.root(id)] = Some(index);
            }
        }
        for (_, id) in &self.outputs {
            last[*id] = Some(usize::MAX);
            last[self.root(*id)] = Some(usize::MAX);
        }
        last
    }

    /// Shapes of a step's inputs and of its weights.
    pub fn shapes(&self, step: &Step) -> (Vec<Shape>, Vec<Shape>) {
        let shape = |&id: &TensorId| self.tensors[id].shape;
        (step.inputs.iter().map(shape).collect(), step.weights.iter().map(shape).collect())
    }

    /// Arguments of a step for the host half of its op; `shapes` from [`Plan::shapes`].
    pub fn call<'a>(&self, step: &Step, shapes: &'a (Vec<Shape>, Vec<Shape>)) -> Call<'a> {
        let output = &self.tensors[step.output];
        // The dB spectrogram is f32 in every plan: what an op stores decides where it has a choice.
        let element = step.inputs.iter().map(|&id| self.tensors[id].dtype).chain([output.dtype]);
        Call {
            inputs: &shapes.0,
            weights: &shapes.1,
            output: output.shape,
            element: element.max_by_key(|&dtype| dtype == DType::F16).unwrap_or_default(),
        }
    }

    /// Returns a plan of one step, with its inputs as plan inputs.
    pub fn alone(&self, step: &Step) -> Plan {
        let mut plan = Plan { precision: self.precision, ..Plan::default() };
        let mut add = |id: TensorId, origin: Origin| {
            plan.tensors.push(Tensor { origin, ..self.tensors[id].clone() });
            plan.tensors.len() - 1
        };
        let inputs: Vec<_> =
            step.inputs.iter().enumerate().map(|(place, &id)| add(id, Origin::Input(place))).collect();
        let weights = step.weights.iter().map(|&id| add(id, self.tensors[id].origin.clone())).collect();
        let output = add(step.output, Origin::Step);
        plan.inputs = inputs.clone();
        plan.outputs = vec![(step.name.clone(), output)];
        plan.steps = vec![Step { inputs, weights, output, ..step.clone() }];
        plan
    }

    /// Values of a weight tensor.
    pub fn weight(&self, id: TensorId) -> Option<&Arc<HostTensor>> {
        match &self.tensors[id].origin {
            Origin::Weight(weight) => Some(weight),
            _ => None,
        }
    }

    /// Checks `inputs` against the plan.
    ///
    /// # Errors
    /// [`InputError`] with the input, the expected and the actual value.
    pub fn check_inputs(&self, inputs: &[HostTensor]) -> Result<(), InputError> {
        if inputs.len() != self.inputs.len() {
            return Err(InputError::Count { expected: self.inputs.len(), found: inputs.len() });
        }
        for (input, &id) in inputs.iter().zip(&self.inputs) {
            let tensor = &self.tensors[id];
            if input.shape() != tensor.shape {
                return Err(InputError::Shape {
                    name: tensor.name.clone(),
                    expected: tensor.shape,
                    found: input.shape(),
                });
            }
        }
        Ok(())
    }
}
