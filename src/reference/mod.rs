//! Reference implementation: the definition of every op, and an executor for whole plans.
//!
//! One function per op, nested loops in the order of the formula, sums in f64. All kernels are tested against it. It is
//! slow and shares no arithmetic with the kernels.

use std::sync::Arc;

use crate::executor::{self, ExecuteError, Inputs, PlanOutputs, Submission};
use crate::kernels::Op;
use crate::plan::{Origin, Plan};
use crate::tensor::{DType, HostTensor};

mod activation;
mod batch_norm;
mod batch_stats;
mod clip_stats;
mod concat;
mod conv2d;
mod dense;
mod gru;
mod larger;
mod last_state;
mod log_mel;
mod max_pool2d;
mod mean_pool2d;
mod normalize;
mod normalize_channels;
mod pad_time;

/// Reference executor: runs a plan with the reference implementation of each op, in the call that submits it.
#[derive(Debug)]
pub struct Executor {
    plan: Plan,
}

impl Executor {
    /// Runs `plan`, with any number of clips in a batch; `max_batch` is the recommended number.
    pub fn new(plan: &Plan, max_batch: usize) -> Executor {
        Executor { plan: plan.with_batch(max_batch.max(1)) }
    }
}

impl executor::Executor for Executor {
    fn device(&self) -> &str {
        "reference"
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn max_batch(&self) -> usize {
        self.plan.batch()
    }

    fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
        inputs.check(&self.plan)?;
        let tensors = run(&self.plan.with_batch(inputs.batch()), &inputs.to_tensors());
        Ok(Submission::ready(tensors.map(|tensors| PlanOutputs { tensors, steps: Vec::new() })))
    }
}

/// Runs a plan and returns its outputs, in the plan's order.
///
/// # Errors
/// [`ExecuteError::Input`] if the inputs do not match the plan.
pub fn run(plan: &Plan, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, ExecuteError> {
    plan.check_inputs(inputs)?;
    let mut values: Vec<Option<Arc<HostTensor>>> = plan
        .tensors()
        .iter()
        .map(|tensor| match &tensor.origin {
            Origin::Input(index) => {
                let mut input = inputs[*index].clone();
                round(input.data_mut(), tensor.dtype);
                Some(Arc::new(input))
            }
            Origin::Weight(weight) => Some(weight.clone()),
            Origin::Step | Origin::View(_) => None,
        })
        .collect();
    let last_uses = plan.last_uses();
    for (index, step) in plan.steps().iter().enumerate() {
        for &id in &step.inputs {
            resolve(plan, id, &mut values);
        }
        let get = |id: &usize| values[*id].clone().unwrap_or_else(|| unreachable!("steps are in order"));
        let x: Vec<_> = step.inputs.iter().map(get).collect();
        let w: Vec<_> = step.weights.iter().map(get).collect();
        let tensor = &plan.tensors()[step.output];
        let mut data = apply(&step.op, &x, &w, tensor.shape.extents());
        round(&mut data, tensor.dtype);
        let output = HostTensor::new(tensor.shape, data)
            .map_err(|source| ExecuteError::Output { output: step.name.clone(), source })?;
        values[step.output] = Some(Arc::new(output));
        // Tensors that are no longer needed are freed: layers have tens of megabytes.
        for (value, last) in values.iter_mut().zip(&last_uses) {
            if *last == Some(index) {
                *value = None;
            }
        }
    }
    let outputs = plan.outputs().iter().map(|(_, id)| {
        resolve(plan, *id, &mut values);
        values[*id].as_deref().cloned().unwrap_or_else(|| unreachable!("outputs are kept"))
    });
    Ok(outputs.collect())
}

/// Computes some outputs of a plan of one step: those at row-major indices `places`. Reads only the required part of the
/// input for convolutions.
///
/// # Errors
/// As [`run`].
pub fn sampled(plan: &Plan, inputs: &[HostTensor], places: &[usize]) -> Result<Vec<f32>, ExecuteError> {
    let step = &plan.steps()[0];
    let tensor = &plan.tensors()[step.output];
    let weights: Vec<_> = step.weights.iter().filter_map(|&id| plan.weight(id)).collect();
    let (Op::Conv2d(op), [w, b]) = (&step.op, weights.as_slice()) else {
        let output = run(plan, inputs)?;
        return Ok(places.iter().map(|&place| output[0].data()[place]).collect());
    };
    plan.check_inputs(inputs)?;
    let mut x = inputs[0].clone();
    round(x.data_mut(), plan.tensors()[step.inputs[0]].dtype);
    let mut values: Vec<f32> =
        places.iter().map(|&place| conv2d::conv2d_at(op, &x, w, b, tensor.shape.extents(), place)).collect();
    round(&mut values, tensor.dtype);
    Ok(values)
}

/// Rounds values to a storage type.
fn round(data: &mut [f32], dtype: DType) {
    if dtype == DType::F16 {
        data.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
    }
}

/// Computes a view from its base tensor. Views drop or swap an axis of extent 1, so the logical order changes only from
/// `[N, C, 1, T]` to `[N, T, C]`.
fn resolve(plan: &Plan, id: usize, values: &mut [Option<Arc<HostTensor>>]) {
    let Origin::View(source) = plan.tensors()[id].origin else { return };
    if values[id].is_some() {
        return;
    }
    resolve(plan, source, values);
    let Some(x) = values[source].clone() else { return };
    let shape = plan.tensors()[id].shape;
    let [n, c, t] = [x.shape().extent(0), x.shape().extent(1), x.shape().extent(3)];
    let mut data = Vec::with_capacity(x.data().len());
    for clip in 0..n {
        for frame in 0..t {
            data.extend((0..c).map(|channel| x.data()[(clip * c + channel) * t + frame]));
        }
    }
    values[id] = HostTensor::new(shape, data).ok().map(Arc::new);
}

/// Applies the reference implementation of `op`.
fn apply(op: &Op, x: &[Arc<HostTensor>], w: &[Arc<HostTensor>], y: &[usize]) -> Vec<f32> {
    match op {
        Op::Activation(op) => activation::activation(*op, &x[0]),
        Op::BatchNorm(op) => batch_norm::batch_norm(op, &x[0], &w[0], &w[1]),
        Op::ClipStats(op) => clip_stats::clip_stats(op, &x[0]),
        Op::Conv2d(op) => conv2d::conv2d(op, &x[0], &w[0], &w[1]),
        Op::Dense(op) => dense::dense(op, &x[0], &w[0], &w[1]),
        Op::Gru(op) => gru::gru(op, &x[0], [&w[0], &w[1]]),
        Op::LastState(_) => last_state::last_state(&x[0]),
        Op::LogMel(op) => log_mel::log_mel(op, &x[0], &w[0], &w[1], y[3]),
        Op::MaxPool2d(op) => max_pool2d::max_pool2d(op, &x[0]),
        Op::Normalize(op) => {
            normalize::normalize(op, &x[0], &x[1], w.first().zip(w.get(1)).map(|(a, b)| (&**a, &**b)))
        }
        Op::BatchStats(_) => batch_stats::batch_stats(&x[0]),
        Op::Concat(_) => concat::concat(&x[0], &x[1]),
        Op::MeanPool2d(_) => mean_pool2d::mean_pool2d(&x[0]),
        Op::NormalizeChannels(op) => normalize_channels::normalize_channels(op, &x[0], &x[1], &w[0], &w[1]),
        Op::PadTime(op) => pad_time::pad_time(op, &x[0]),
    }
}
