//! Compilation of the kernel of a step without running it.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::select::{SelectedKernel, select_kernel};
use super::shader::Pipelines;
use super::{Context, GpuError, Options};
use crate::kernels::KernelConfig;
use crate::plan::Plan;

/// Kernel that is selected for a step and not compiled yet.
#[derive(Debug)]
pub struct Uncompiled {
    /// Kernel configuration.
    pub config: KernelConfig,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
    /// Hash of the shader text, its constants and its checks: equal for equal code.
    pub code: u64,
    selected: SelectedKernel,
    trusted: bool,
}

/// Selects the kernel of the only step of a plan.
///
/// # Errors
/// [`GpuError::Dispatch`] when the device cannot run it.
pub fn select(gpu: &Context, plan: &Plan, options: &Options) -> Result<Uncompiled, GpuError> {
    let step = &plan.steps()[0];
    let selected = select_kernel(gpu, plan, step, options)?;
    let (_, trusted) = selected.packed(plan, step, options);
    let mut hasher = DefaultHasher::new();
    (selected.source(), trusted).hash(&mut hasher);
    for (name, value) in &selected.dispatch.constants {
        (name, value.to_bits()).hash(&mut hasher);
    }
    Ok(Uncompiled {
        config: selected.config,
        workgroups: selected.dispatch.workgroups,
        code: hasher.finish(),
        selected,
        trusted,
    })
}

/// Compiles a kernel.
///
/// # Errors
/// [`GpuError::Shader`] when it does not compile.
pub fn compile(gpu: &Context, kernel: &Uncompiled) -> Result<(), GpuError> {
    Pipelines::default().get(gpu, &kernel.selected, kernel.trusted).map(|_| ())
}
