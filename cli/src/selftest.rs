//! `tagwave selftest`.

use clap::Args;

use super::target::{ExecutorOptions, Target};
use super::{CliError, DeviceArgs, SOME_FAILED, WeightsArgs, print_line};
use tagwave::error::Error;
use tagwave::executor::blocking::Run;
use tagwave::kernels::{KernelConfig, Operation};
use tagwave::models::{self, Model, ModelError, Starts};
use tagwave::plan::Plan;
use tagwave::reference;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{self, TestCase, Tolerance};
use tagwave::weights::WeightsError;

/// Arguments of `tagwave selftest`.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Compares every kernel on the device with the reference implementation, then whole models whose weights are found.
pub(super) fn selftest(args: &SelftestArgs) -> Result<u8, CliError> {
    let target = Target::new(&args.device.device)?;
    print_line(&format!("device   {}", target.name()))?;
    let mut report = Report::default();
    for case in test_cases::all() {
        if matches!(target, Target::Cpu) && case.plan.depends_on_batch() && case.plan.batch() > 1 {
            print_line(&format!(
                "not run  {}: the CPU runs clips that depend on each other one at a time",
                case.name
            ))?;
            continue;
        }
        let expected = reference::run(&case.plan, &case.inputs).map_err(Error::from)?;
        for config in configs(&target, &case) {
            let kernel = config.map(|config| format!(" [{config:?}]")).unwrap_or_default();
            let kernel = format!("{}{kernel}", case.name);
            let found = run(&target, &case.plan, config, &case.inputs);
            report.compare(&kernel, found, &expected[0], case.op().tolerance())?;
        }
    }
    for model in models::all() {
        check_model(&target, &model, args, &mut report)?;
    }
    print_line(&format!("{} checks, {} failed", report.checks, report.failed))?;
    Ok(if report.failed == 0 { 0 } else { SOME_FAILED })
}

/// Compares the results of a synthetic clip with those of the reference implementation, for each compatibility.
fn check_model(
    target: &Target,
    model: &Model,
    args: &SelftestArgs,
    report: &mut Report,
) -> Result<(), CliError> {
    let weights = match model.weights(&args.weights.locator()) {
        Ok(weights) => weights,
        // A folder may lack the weights of some models; a missing path is an error.
        Err(ModelError::Weights(WeightsError::NotFound { .. })) => {
            return print_line(&format!("not run  {}: no weights found", model.name()));
        }
        Err(error) => return Err(Error::from(error).into()),
    };
    let clip = model.architecture().clip();
    let samples = test_cases::synthetic_clip(clip.samples);
    let input = HostTensor::new([1, clip.samples], samples).map_err(Error::from)?;
    for &compat in model.compats() {
        let plan = model.architecture().build(&weights, compat, Starts::Samples).map_err(Error::from)?;
        let expected = reference::run(&plan, std::slice::from_ref(&input)).map_err(Error::from)?;
        let found = run(target, &plan.fused(), None, std::slice::from_ref(&input));
        let tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };
        report.compare(&format!("{} {}", model.name(), compat.as_str()), found, &expected[0], tolerance)?;
    }
    Ok(())
}

/// Kernel configurations to test on a test case; the CPU has one kernel for each op.
fn configs(target: &Target, case: &TestCase) -> Vec<Option<KernelConfig>> {
    match target {
        Target::Gpu(gpu) => case.configs(&gpu.summary().limits).into_iter().map(Some).collect(),
        Target::Cpu => vec![None],
    }
}

fn run(
    target: &Target,
    plan: &Plan,
    config: Option<KernelConfig>,
    inputs: &[HostTensor],
) -> Result<Vec<HostTensor>, Error> {
    let options = ExecutorOptions { max_batch: plan.batch(), config, ..Default::default() };
    Ok(target.executor(plan, &options)?.run(inputs)?)
}

#[derive(Default)]
struct Report {
    checks: usize,
    failed: usize,
}

impl Report {
    /// Compares the first output with the expected one and prints a line.
    fn compare(
        &mut self,
        what: &str,
        found: Result<Vec<HostTensor>, Error>,
        expected: &HostTensor,
        tolerance: Tolerance,
    ) -> Result<(), CliError> {
        self.checks += 1;
        let line = match found.as_ref().map(|outputs| test_cases::compare(&outputs[0], expected, tolerance)) {
            Ok(difference) if difference.within => format!("ok       {what}: {:.1e}", difference.largest),
            Ok(difference) => format!("FAILED   {what}: {difference}"),
            Err(error) => format!("FAILED   {what}: {error}"),
        };
        self.failed += usize::from(line.starts_with("FAILED"));
        print_line(&line)
    }
}
