//! Layers of the models.

use crate::error::Error;
use crate::kernels::{Conv2d, LayerKey, Limits, Op, UserKernel};
use crate::models::{Architecture, Compat, Model, SCORES, Starts};
use crate::plan::{Builder, Plan};
use crate::tensor::{DType, HostTensor};
use crate::test_cases::{fill_weight, synthetic_clip};
use crate::weights::Weights;

/// One layer of a model in isolation.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Model and step, `crnn.conv2`.
    pub name: String,
    /// A plan of one step, for batches of one.
    pub plan: Plan,
}

impl Layer {
    /// The op of the layer.
    pub fn op(&self) -> &Op {
        &self.plan.steps()[0].op
    }

    /// True if a user kernel replaces the built-in one for this layer.
    pub fn is_run_by(&self, custom: &UserKernel, limits: &Limits) -> bool {
        let step = &self.plan.steps()[0];
        let shapes = self.plan.shapes(step);
        custom.dispatch(&step.op, &self.plan.call(step, &shapes), limits).is_some()
    }
}

/// Fused plan of a model from samples to scores, with synthetic weights: speed does not depend on them.
///
/// # Errors
/// If the model cannot be built.
pub fn filled_plan(model: &Model, precision: DType) -> Result<Plan, Error> {
    Ok(filled(model, Starts::Samples)?.fused().with_precision(precision))
}

/// Fused plan of the network of a model: from its spectrogram to scores alone, as other inference engines run it.
///
/// # Errors
/// As [`filled_plan`].
pub fn network(model: &Model, precision: DType) -> Result<Plan, Error> {
    Ok(filled(model, Starts::Mel)?.only_outputs(&[SCORES]).fused().with_precision(precision))
}

/// Fused plan of the front end of a model: from samples to the input of the network.
///
/// # Errors
/// As [`filled_plan`].
pub fn front_end(model: &Model, precision: DType) -> Result<Plan, Error> {
    let plan = filled(model, Starts::Samples)?.tapped(&["input"])?.only_outputs(&["input"]);
    Ok(plan.fused().with_precision(precision))
}

fn filled(model: &Model, starts: Starts) -> Result<Plan, Error> {
    let weights = synthetic_weights(model.architecture(), 0);
    Ok(model.architecture().build(&weights, Compat::Corrected, starts)?)
}

/// Batch for a plan of [`filled_plan`], [`network`] or [`front_end`]: the synthetic clip, or values in the range of a
/// spectrogram in dB.
pub fn synthetic_input(plan: &Plan, batch: usize) -> HostTensor {
    let shape = plan.tensors()[plan.inputs()[0]].shape.with_batch(batch);
    if shape.rank() == 2 {
        let samples = shape.extent(1);
        let clip = synthetic_clip(samples);
        return HostTensor::from_fn(shape, |i| clip[i % samples]);
    }
    HostTensor::from_fn(shape, |i| ((i * 7919) % 1009) as f32 / 1009.0 * 60.0 - 55.0)
}

/// Synthetic weights: array `i` has the fill pattern of `first_seed + i`.
pub fn synthetic_weights(architecture: &dyn Architecture, first_seed: usize) -> Weights {
    let arrays = architecture.tensors().into_iter().enumerate();
    Weights::from_tensors(arrays.map(|(index, spec)| {
        let array = fill_weight(&spec.name, spec.shape, first_seed + index);
        (spec.name, array)
    }))
}

/// All distinct layers of `models`.
///
/// # Errors
/// As [`filled_plan`].
pub fn layers(models: &[Model], precision: DType) -> Result<Vec<Layer>, Error> {
    let (mut layers, mut seen) = (Vec::new(), Vec::new());
    for model in models {
        let plan = filled_plan(model, precision)?.with_batch(1);
        for step in plan.steps() {
            let shapes = plan.shapes(step);
            let key = LayerKey::new(&step.op, &plan.call(step, &shapes));
            if !seen.contains(&key) {
                seen.push(key);
                layers
                    .push(Layer { name: format!("{}.{}", model.name(), step.name), plan: plan.alone(step) });
            }
        }
    }
    Ok(layers)
}

/// Convolution for comparing drivers: 64 to 128 channels at 48x720, not fused.
pub fn probe_layer(precision: DType) -> Layer {
    let mut builder = Builder::new();
    let x = builder.input("x", [1, 64, 48, 720]);
    let weights = vec![fill_weight("w", [128, 64, 3, 3], 1), fill_weight("b", [128], 2)];
    let y = builder.step("conv", Op::Conv2d(Conv2d::default()), &[x], weights);
    let y = y.unwrap_or_else(|error| unreachable!("the shapes above fit: {error}"));
    builder.output("y", y);
    Layer { name: "probe.conv".into(), plan: builder.finish().with_precision(precision) }
}
