//! Selection of the kernel of a step, and of checked or unchecked code.

use std::sync::Arc;

use super::options::Options;
use super::{Context, GpuError};
use crate::kernels::{
    Dispatch, DispatchError, KernelConfig, LayerKey, Operation, Packed, UserKernel, is_within_bounds,
};
use crate::plan::{Plan, Step};
use crate::tensor::{DType, HostTensor};

/// Kernel selected for a step.
#[derive(Clone, Debug)]
pub(super) struct SelectedKernel {
    pub(super) config: KernelConfig,
    pub(super) dispatch: Dispatch,
    /// User kernel that replaces the built-in one.
    pub(super) user_kernel: Option<Arc<UserKernel>>,
}

/// Selects the kernel of a step: a user kernel, else a forced configuration, else the tuned one, else the op's first.
///
/// # Errors
/// [`GpuError::Dispatch`] when the device cannot run it.
pub(super) fn select_kernel(
    gpu: &Context,
    plan: &Plan,
    step: &Step,
    options: &Options,
) -> Result<SelectedKernel, GpuError> {
    let limits = options.limits.as_ref().unwrap_or(&gpu.summary().limits);
    let shapes = plan.shapes(step);
    let call = plan.call(step, &shapes);
    let kernels = options.kernels.as_ref().unwrap_or(gpu.kernels());
    for user_kernel in &kernels.user_kernels {
        if let Some(dispatched) = user_kernel.dispatch(&step.op, &call, limits) {
            let (config, dispatch) =
                dispatched.map_err(|source| GpuError::Dispatch { step: step.name.clone(), source })?;
            return Ok(SelectedKernel { config, dispatch, user_kernel: Some(user_kernel.clone()) });
        }
    }
    let configs = step.op.configs(&call, limits);
    let forced = options.config.filter(|forced| configs.iter().any(|s| s.kernel() == forced.kernel()));
    let measured = || {
        kernels.tuning.find(&LayerKey::new(&step.op, &call), &configs).filter(|found| configs.contains(found))
    };
    let config = forced.or_else(measured).or(configs.first().copied());
    let config = config.ok_or_else(|| DispatchError::not_applicable(step.op.name(), &call));
    let dispatched = config.and_then(|config| Ok((config, step.op.dispatch(&call, config, limits)?)));
    let (config, dispatch) =
        dispatched.map_err(|source| GpuError::Dispatch { step: step.name.clone(), source })?;
    Ok(SelectedKernel { config, dispatch, user_kernel: None })
}

/// Checks that a device can run one clip of `plan`, without compiling anything.
///
/// # Errors
/// [`GpuError::Dispatch`] with what is missing, [`GpuError::MissingFeature`].
pub(crate) fn check_plan(gpu: &Context, plan: &Plan) -> Result<(), GpuError> {
    gpu.check_precision(plan)?;
    let (plan, options) = (plan.with_batch(1), Options::default());
    plan.steps().iter().try_for_each(|step| select_kernel(gpu, &plan, step, &options).map(drop))
}

impl Context {
    /// Fails for a plan in f16 on a device without f16.
    pub(super) fn check_precision(&self, plan: &Plan) -> Result<(), GpuError> {
        let f16 = plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
        if f16 && !self.summary().limits.f16 {
            return Err(GpuError::MissingFeature {
                adapter: self.summary().name.clone(),
                feature: "16-bit floats in shaders",
                advice: "use f32",
            });
        }
        Ok(())
    }
}

impl SelectedKernel {
    /// Shader text.
    pub(super) fn source(&self) -> String {
        match &self.user_kernel {
            Some(kernel) => self.dispatch.source_of(&kernel.source),
            None => self.dispatch.source(),
        }
    }

    /// The step's weights, packed for the kernel, and whether the kernel may run without checks on the device.
    pub(super) fn packed(&self, plan: &Plan, step: &Step, options: &Options) -> (Vec<Packed>, bool) {
        let shapes = plan.shapes(step);
        let call = plan.call(step, &shapes);
        let weights: Vec<&HostTensor> =
            step.weights.iter().filter_map(|&id| plan.weight(id).map(|weight| &**weight)).collect();
        let packed = step.op.pack(&call, self.config, &weights);
        let trusted = match &self.user_kernel {
            Some(kernel) => kernel.is_trusted(),
            None if options.checked => false,
            None => {
                let bounds = step.op.max_index(&call, self.config, &packed);
                bounds.is_some_and(|bounds| is_within_bounds(&call, &bounds, self.dispatch.kernel, &packed))
            }
        };
        (packed, trusted)
    }
}
