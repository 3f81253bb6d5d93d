//! Stand-in for `gpus` in builds without GPU support: no GPU can be opened, so no [`Context`] exists.

use super::active::{Active, Context};
use super::device::Device;
use super::warnings::Warnings;
use crate::error::{Cause, Error};
use crate::plan::Plan;

/// Settings for opening GPUs: none.
#[derive(Clone, Debug, Default)]
pub(super) struct GpuSettings {}

#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the signatures of `gpus::GpuSettings`")]
impl GpuSettings {
    pub(super) fn prepare(
        &self,
        gpu: &Context,
        _: &Plan,
        _: Option<usize>,
        _: &Warnings,
    ) -> Result<Active, Error> {
        match *gpu {}
    }

    pub(super) fn open_named(
        &self,
        _: &Device,
        _: &Plan,
        _: Option<usize>,
        _: &Warnings,
    ) -> Result<Active, Error> {
        Err(Cause::NotBuilt { executor: "GPU executor", feature: "gpu" }.into())
    }

    pub(super) fn open_auto(
        &mut self,
        _: &Plan,
        _: Option<usize>,
        _: Option<usize>,
        _: &Warnings,
    ) -> Result<Result<Active, String>, Error> {
        Ok(Err(String::new()))
    }

    pub(super) fn reopen(&self, _: &Device, _: &Plan, _: usize, _: &Warnings) -> Result<Active, String> {
        Err("this build has no GPU executor".into())
    }
}
