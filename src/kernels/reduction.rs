//! Kernels of ops that reduce their input: one shader, whose threads join their sums through subgroups or through shared
//! memory.

use super::{
    Binding, Call, INDEX, Include, Kernel, KernelConfig, KernelVariant, KernelVariants, REDUCE,
    REDUCE_SUBGROUP, Role, split_workgroups,
};

/// Op that reduces its only input.
pub(super) trait Reduction: Sized + 'static {
    /// Its kernel through shared memory, made by [`shared`].
    const SHARED: &'static Kernel;
    /// Its kernel through subgroups, made by [`subgroup`].
    const SUBGROUP: &'static Kernel;

    /// Number of workgroups of a call.
    fn workgroups(call: &Call) -> usize;

    /// The kernel variants.
    const VARIANTS: KernelVariants<Self> = KernelVariants(&[
        KernelVariant {
            kernel: Self::SUBGROUP,
            configs: |_, _, limits| {
                if limits.subgroup_ids {
                    vec![KernelConfig::new(Self::SUBGROUP.name, &[])]
                } else {
                    Vec::new()
                }
            },
            workgroups: |_, call, _, limits| split_workgroups(Self::SUBGROUP, Self::workgroups(call), limits),
            specific: (),
        },
        KernelVariant {
            kernel: Self::SHARED,
            configs: |_, _, _| vec![KernelConfig::new(Self::SHARED.name, &[])],
            workgroups: |_, call, _, limits| split_workgroups(Self::SHARED, Self::workgroups(call), limits),
            specific: (),
        },
    ]);
}

const THROUGH_SHARED: &[&Include] = &[&INDEX, &REDUCE];
const THROUGH_SUBGROUPS: &[&Include] = &[&INDEX, &REDUCE_SUBGROUP];

const BINDINGS: &[Binding] =
    &[Binding { name: "x", role: Role::Input(0) }, Binding { name: "y", role: Role::Output }];

/// Kernel of a shader that reduces through shared memory.
pub(super) const fn shared(name: &'static str, source: &'static str) -> Kernel {
    Kernel { name, source, includes: THROUGH_SHARED, bindings: BINDINGS }
}

/// Kernel of a shader that reduces through subgroups.
pub(super) const fn subgroup(name: &'static str, source: &'static str) -> Kernel {
    Kernel { name, source, includes: THROUGH_SUBGROUPS, bindings: BINDINGS }
}
