//! Which kernel runs a step, and whether it may run without checks.

use std::sync::Arc;

use super::executor::Options;
use super::{Gpu, GpuError};
use crate::kernels::{Custom, Dispatch, Operation, Packed, Strategy, proved};
use crate::plan::{Plan, Step};
use crate::tensor::HostTensor;

/// What runs a step.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) strategy: Strategy,
    pub(super) dispatch: Dispatch,
    /// The kernel from outside that stands in for the built-in one.
    pub(super) custom: Option<Arc<Custom>>,
}

/// The strategy and the dispatch of a step: what comes from outside, what is forced, what was measured, the op's
/// first.
///
/// # Errors
/// [`GpuError::Dispatch`] when the device cannot run it.
pub(super) fn choose(gpu: &Gpu, plan: &Plan, step: &Step, options: &Options) -> Result<Chosen, GpuError> {
    let limits = options.limits.as_ref().unwrap_or(&gpu.summary().limits);
    let shapes = plan.shapes(step);
    let call = plan.call(step, &shapes);
    let kernels = options.kernels.as_ref().unwrap_or(gpu.kernels());
    for custom in &kernels.custom {
        if let Some(dispatched) = custom.dispatch(&step.op, &call, limits) {
            let (strategy, dispatch) =
                dispatched.map_err(|source| GpuError::Dispatch { step: step.name.clone(), source })?;
            return Ok(Chosen { strategy, dispatch, custom: Some(custom.clone()) });
        }
    }
    let strategies = step.op.strategies(&call, limits);
    let forced = options.strategy.filter(|forced| strategies.iter().any(|s| s.kernel() == forced.kernel()));
    let measured = || kernels.choice.find(&step.op, &call, limits).filter(|found| strategies.contains(found));
    let strategy = forced.or_else(measured).or(strategies.first().copied()).unwrap_or(Strategy::DEFAULT);
    let dispatch = step.op.dispatch(&call, strategy, limits);
    let dispatch = dispatch.map_err(|source| GpuError::Dispatch { step: step.name.clone(), source })?;
    Ok(Chosen { strategy, dispatch, custom: None })
}

impl Chosen {
    /// The step's weights, packed for the kernel, and whether the kernel may run without checks on the device.
    pub(super) fn packed(&self, plan: &Plan, step: &Step, options: &Options) -> (Vec<Packed>, bool) {
        let shapes = plan.shapes(step);
        let call = plan.call(step, &shapes);
        let weights: Vec<&HostTensor> =
            step.weights.iter().filter_map(|&id| plan.weight(id).map(|weight| &**weight)).collect();
        let packed = step.op.pack(&call, self.strategy, &weights);
        let trusted = match &self.custom {
            Some(custom) => custom.is_trusted(),
            None if options.checked => false,
            None => {
                let bounds = step.op.bounds(&call, self.strategy, &packed);
                bounds.is_some_and(|bounds| proved(&call, &bounds, self.dispatch.kernel, &packed))
            }
        };
        (packed, trusted)
    }
}
