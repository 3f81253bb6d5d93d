//! `tagwave selftest`.

use clap::Args;

use super::target::Target;
use super::{DeviceArgs, Failed, SOME_FAILED, WeightsArgs, say};
use crate::error::Error;
use crate::gpu;
use crate::kernels::KernelConfig;
use crate::models::{self, Model, ModelError, Starts};
use crate::plan::Plan;
use crate::tensor::HostTensor;
use crate::test_cases::{self, TestCase, Tolerance};
use crate::weights::WeightsError;
use crate::{cpu, reference};

/// Arguments of `tagwave selftest`.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Holds every kernel against its reference implementation on the chosen device, then whole models where weights are found.
pub(super) fn selftest(args: &SelftestArgs) -> Result<u8, Failed> {
    let target = Target::new(&args.device.device)?;
    say(&format!("device   {}", target.name()))?;
    let mut report = Report::default();
    for case in test_cases::all() {
        if matches!(target, Target::Cpu) && case.plan.depends_on_batch() && case.plan.batch() > 1 {
            say(&format!("not run  {}: the CPU takes such clips one at a time", case.name))?;
            continue;
        }
        let expected = reference::run(&case.plan, &case.inputs).map_err(Error::from)?;
        for config in configs(&target, &case) {
            let kernel = match config {
                KernelConfig::DEFAULT => case.name.clone(),
                config => format!("{} [{config:?}]", case.name),
            };
            let found = run(&target, &case.plan, config, &case.inputs);
            report.compare(&kernel, found, &expected[0], case.tolerance)?;
        }
    }
    for model in models::all() {
        check_model(&target, &model, args, &mut report)?;
    }
    say(&format!("{} checks, {} failed", report.checks, report.failed))?;
    Ok(if report.failed == 0 { 0 } else { SOME_FAILED })
}

/// A synthetic clip through a model in both readings, against the reference executor.
fn check_model(
    target: &Target,
    model: &Model,
    args: &SelftestArgs,
    report: &mut Report,
) -> Result<(), Failed> {
    let weights = match model.weights(&args.weights.locator()) {
        Ok(weights) => weights,
        // A folder need not have the weights of every model; a path that is not there is a mistake.
        Err(ModelError::Weights(WeightsError::NotFound { .. })) => {
            return say(&format!("not run  {}: no weights found", model.name));
        }
        Err(error) => return Err(Error::from(error).into()),
    };
    let clip = model.architecture.clip();
    let samples = test_cases::synthetic_clip(clip.samples);
    let input = HostTensor::new([1, clip.samples], samples).map_err(Error::from)?;
    for &reading in model.readings {
        let plan = model.architecture.build(&weights, reading, Starts::Samples).map_err(Error::from)?;
        let expected = reference::run(&plan, std::slice::from_ref(&input)).map_err(Error::from)?;
        let found = run(target, &plan.fused(), KernelConfig::DEFAULT, std::slice::from_ref(&input));
        let tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };
        report.compare(&format!("{} {}", model.name, reading.as_str()), found, &expected[0], tolerance)?;
    }
    Ok(())
}

/// The configurations to try on a test case's one step.
fn configs(target: &Target, case: &TestCase) -> Vec<KernelConfig> {
    match target {
        Target::Gpu(gpu) => case.configs(&gpu.summary().limits),
        Target::Cpu => vec![KernelConfig::DEFAULT],
    }
}

fn run(
    target: &Target,
    plan: &Plan,
    config: KernelConfig,
    inputs: &[HostTensor],
) -> Result<Vec<HostTensor>, Error> {
    match target {
        Target::Gpu(gpu) => {
            let options =
                gpu::Options { max_batch: plan.batch(), config: Some(config), ..Default::default() };
            Ok(gpu::Executor::new(gpu, plan, &options)?.run(inputs)?)
        }
        Target::Cpu => Ok(cpu::Executor::new(plan, &cpu::Options::default())?.run(inputs)?),
    }
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
        let line = match found.as_ref().map(|outputs| test_cases::compare(&outputs[0], expected, tolerance)) {
            Ok(difference) if difference.within => format!("ok       {what}: {:.1e}", difference.largest),
            Ok(difference) => format!("FAILED   {what}: {difference}"),
            Err(error) => format!("FAILED   {what}: {error}"),
        };
        self.failed += usize::from(line.starts_with("FAILED"));
        say(&line)
    }
}
