//! `tagwave selftest`.

use clap::Args;

use super::{DeviceArgs, Failed, SOME_FAILED, WeightsArgs, write_failed};
use crate::error::Error;
use crate::gpu::{Executor, Gpu, Options, Selection};
use crate::kernels::{Limits, Operation, Strategy};
use crate::models::{self, Model, Reading, Starts};
use crate::problems::{self, Problem, Tolerance};
use crate::tagger::Device;
use crate::tensor::HostTensor;
use crate::{reference, weights};

/// Arguments of `tagwave selftest`.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Holds every kernel against its twin on the chosen adapter, then whole models where weights are found.
pub(super) fn selftest(args: &SelftestArgs) -> Result<u8, Failed> {
    let selection = match &args.device.device {
        Device::Adapter(selection) => selection.clone(),
        _ => Selection::Best,
    };
    let gpu = Gpu::request(&selection).map_err(Error::from)?;
    let adapter = gpu.summary();
    say(&format!("adapter  {} ({}, {})", adapter.name, adapter.backend, adapter.driver))?;
    let mut report = Report::default();
    for problem in problems::all() {
        let expected = reference::run(&problem.plan, &problem.inputs).map_err(Error::from)?;
        for strategy in strategies(&problem, &adapter.limits) {
            let kernel = match strategy {
                Strategy::Only => problem.name.clone(),
                strategy => format!("{} [{strategy:?}]", problem.name),
            };
            let options =
                Options { max_batch: problem.plan.batch(), strategy: Some(strategy), ..Options::default() };
            let found = Executor::new(&gpu, &problem.plan, &options)
                .and_then(|executor| executor.run(&problem.inputs))
                .map_err(Error::from);
            report.compare(&kernel, found, &expected[0], problem.tolerance)?;
        }
    }
    for model in models::all() {
        check_model(&gpu, &model, args, &mut report)?;
    }
    say(&format!("{} checks, {} failed", report.checks, report.failed))?;
    Ok(if report.failed == 0 { 0 } else { SOME_FAILED })
}

/// A synthetic clip through a model in both readings, against the reference executor.
fn check_model(gpu: &Gpu, model: &Model, args: &SelftestArgs, report: &mut Report) -> Result<(), Failed> {
    let manifest = model.manifest().map_err(Error::from)?;
    let Ok(path) = args.weights.locator().locate(&manifest) else {
        return say(&format!("not run  {}: no weights found", model.name));
    };
    let weights = weights::load(&path, &model.architecture.tensors(), &manifest).map_err(Error::from)?;
    let clip = model.architecture.clip();
    let samples = problems::synthetic_clip(clip.samples);
    let input = HostTensor::new([1, clip.samples], samples).map_err(Error::from)?;
    for reading in [Reading::Restored, Reading::Upstream] {
        let plan = model.architecture.build(&weights, reading, Starts::Samples).map_err(Error::from)?;
        let expected = reference::run(&plan, std::slice::from_ref(&input)).map_err(Error::from)?;
        let found = Executor::new(gpu, &plan.fused(), &Options { max_batch: 1, ..Options::default() })
            .and_then(|executor| executor.run(std::slice::from_ref(&input)))
            .map_err(Error::from);
        let tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };
        report.compare(&format!("{} {}", model.name, reading.as_str()), found, &expected[0], tolerance)?;
    }
    Ok(())
}

fn strategies(problem: &Problem, limits: &Limits) -> Vec<Strategy> {
    let step = &problem.plan.steps()[0];
    let shapes = problem.plan.shapes(step);
    step.op.strategies(&problem.plan.call(step, &shapes), limits)
}

#[derive(Default)]
struct Report {
    checks: usize,
    failed: usize,
}

impl Report {
    /// One line: the first output against what is expected.
    fn compare(
        &mut self,
        what: &str,
        found: Result<Vec<HostTensor>, Error>,
        expected: &HostTensor,
        tolerance: Tolerance,
    ) -> Result<(), Failed> {
        self.checks += 1;
        let line = match found.as_ref().map(|outputs| problems::compare(&outputs[0], expected, tolerance)) {
            Ok(difference) if difference.within => format!("ok       {what}: {:.1e}", difference.largest),
            Ok(difference) => format!("FAILED   {what}: {difference}"),
            Err(error) => format!("FAILED   {what}: {error}"),
        };
        self.failed += usize::from(line.starts_with("FAILED"));
        say(&line)
    }
}

fn say(line: &str) -> Result<(), Failed> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| write_failed(&error))
}
