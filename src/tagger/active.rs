//! Executor in use, and its GPU.

use std::sync::Arc;

use crate::executor::Executor;
#[cfg(feature = "wgpu")]
pub(super) use crate::gpu::Context;

/// Device of a GPU, which a build without GPU support cannot open.
#[cfg(not(feature = "wgpu"))]
#[derive(Clone, Debug)]
pub(super) enum Context {}

/// Name of a GPU.
#[cfg(feature = "wgpu")]
pub(super) fn name(gpu: &Context) -> &str {
    &gpu.summary().name
}

/// Name of a GPU, of which there is none.
#[cfg(not(feature = "wgpu"))]
pub(super) fn name(gpu: &Context) -> &str {
    match *gpu {}
}

/// Executor in use, and its device if it is a GPU.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) gpu: Option<Context>,
}

impl Active {
    /// An executor that runs on no GPU.
    pub(super) fn on_host(executor: impl Executor + 'static) -> Active {
        Active { executor: Arc::new(executor), gpu: None }
    }
}
