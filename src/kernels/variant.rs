//! Kernel variants of ops that have more than one kernel: each is a few lines of a list.

use super::{Call, Dispatch, DispatchError, Kernel, KernelConfig, Limits};

/// Workgroups along x, y and z of a kernel for one call of `O`.
type Workgroups<O> = fn(&O, &Call, KernelConfig, &Limits) -> Result<[u32; 3], DispatchError>;

/// Kernel variant of an op `O`.
pub(super) struct KernelVariant<O: 'static, Specific: 'static = ()> {
    pub(super) kernel: &'static Kernel,
    /// The tiles to try on a call, the best guess first; none where the kernel cannot run it.
    pub(super) configs: fn(&O, &Call, &Limits) -> Vec<KernelConfig>,
    pub(super) workgroups: Workgroups<O>,
    /// Parts that only variants of this op have.
    pub(super) specific: Specific,
}

/// All kernel variants of an op, the default first.
pub(super) struct KernelVariants<O: 'static, Specific: 'static = ()>(
    pub(super) &'static [KernelVariant<O, Specific>],
);

impl<O, Specific> KernelVariants<O, Specific> {
    /// Every configuration that can run a call.
    pub(super) fn configs(&self, op: &O, call: &Call, limits: &Limits) -> Vec<KernelConfig> {
        self.0.iter().flat_map(|variant| (variant.configs)(op, call, limits)).collect()
    }

    /// Variant whose kernel a configuration names.
    pub(super) fn of(&self, config: KernelConfig) -> Option<&'static KernelVariant<O, Specific>> {
        self.0.iter().find(|variant| variant.kernel.name == config.kernel())
    }

    /// As [`KernelVariants::of`], for a dispatch.
    ///
    /// # Errors
    /// [`DispatchError::NotApplicable`] for a kernel of another op.
    pub(super) fn find(
        &self,
        config: KernelConfig,
        call: &Call,
    ) -> Result<&'static KernelVariant<O, Specific>, DispatchError> {
        self.of(config).ok_or_else(|| DispatchError::not_applicable(config.kernel(), call))
    }
}

impl<O, Specific> KernelVariant<O, Specific> {
    /// A dispatch without `override`s and `Params`, which the op adds.
    pub(super) fn dispatch(
        &self,
        op: &O,
        call: &Call,
        config: KernelConfig,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        Ok(Dispatch {
            kernel: self.kernel,
            header: config.header(),
            element: call.element,
            constants: Vec::new(),
            params: Default::default(),
            workgroups: (self.workgroups)(op, call, config, limits)?,
        })
    }
}
