//! Interface of CPU kernels: prepared steps of a plan.

use pulp::Arch;

use super::scratch::{Scratch, ScratchPool};

/// KernelContext of a running kernel.
#[derive(Clone, Copy)]
pub(super) struct KernelContext<'a> {
    /// SIMD instruction set.
    pub(super) arch: Arch,
    /// Scratch memory.
    pub(super) scratch: &'a ScratchPool<Scratch>,
    /// True if a kernel may split its work between the threads of the pool.
    pub(super) parallel: bool,
}

/// A step prepared for clips of one shape.
pub(super) trait CpuKernel: std::fmt::Debug + Send + Sync {
    /// Computes the output of one clip from its inputs, all channels last.
    fn run(&self, context: &KernelContext, x: &[&[f32]], y: &mut [f32]);

    /// Name of the kernel.
    fn kernel(&self) -> &'static str;
}
