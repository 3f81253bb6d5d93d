//! Every problem on every strategy against the CPU twin, on whatever adapter there is and on the processor.

mod common;

use tagwave::cpu::{self, Convolution, Instructions};
use tagwave::error::ErrorKind;
use tagwave::gpu::{Executor, Options};
use tagwave::kernels::{Limits, Operation, Strategy};
use tagwave::plan::Plan;
use tagwave::problems::{self, Problem};
use tagwave::reference;
use tagwave::tensor::DType;

/// Strategies that can run a problem's one step.
fn strategies(problem: &Problem, limits: &Limits) -> Vec<Strategy> {
    let step = &problem.plan.steps()[0];
    let shapes = problem.plan.shapes(step);
    step.op.strategies(&problem.plan.call(step, &shapes), limits)
}

/// The device's own limits, and tighter ones: so few workgroups an axis that every dispatch is folded, and the
/// tiles that hardware gets on a software driver (or the other way round).
fn variants(problem: &Problem, native: &Limits) -> [Limits; 2] {
    let step = &problem.plan.steps()[0];
    let shapes = problem.plan.shapes(step);
    let dispatch = step.op.dispatch(&problem.plan.call(step, &shapes), Strategy::Only, native).unwrap();
    let workgroups = dispatch.workgroups.iter().map(|&count| u64::from(count)).product::<u64>();
    let per_axis = workgroups.isqrt() as u32 + 1;
    let folded = Limits {
        max_workgroups_per_axis: per_axis.min(native.max_workgroups_per_axis),
        software: !native.software,
        ..native.clone()
    };
    [native.clone(), folded]
}

#[test]
fn every_kernel_agrees_with_its_twin() {
    let Some(gpu) = common::gpu() else { return };
    let native = gpu.summary().limits.clone();
    let mut failures = Vec::new();
    let mut runs = 0;
    for problem in problems::all() {
        let expected = reference::run(&problem.plan, &problem.inputs).unwrap();
        for limits in &variants(&problem, &native) {
            for strategy in strategies(&problem, limits) {
                let options = Options {
                    max_batch: problem.plan.batch(),
                    strategy: Some(strategy),
                    limits: Some(limits.clone()),
                };
                let found = Executor::new(&gpu, &problem.plan, &options)
                    .and_then(|executor| executor.run(&problem.inputs));
                runs += 1;
                match found {
                    Ok(found) => {
                        let difference = problems::compare(&found[0], &expected[0], problem.tolerance);
                        if !difference.within {
                            failures.push(format!("{} ({strategy:?}): {difference}", problem.name));
                        }
                    }
                    Err(error) => failures.push(format!("{} ({strategy:?}): {error}", problem.name)),
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Every set of instructions, every way to convolve, one thread and three.
fn processor_options() -> Vec<cpu::Options> {
    let mut options = Vec::new();
    for instructions in Instructions::available() {
        for convolution in [None, Some(Convolution::Direct), Some(Convolution::Winograd)] {
            for threads in [1, 3] {
                options.push(cpu::Options {
                    threads: Some(threads),
                    convolution,
                    instructions: Some(instructions),
                    ..Default::default()
                });
            }
        }
    }
    options
}

#[test]
fn the_processor_agrees_with_every_twin() {
    let mut failures = Vec::new();
    let mut runs = 0;
    for problem in problems::all() {
        let expected = reference::run(&problem.plan, &problem.inputs).unwrap();
        for options in processor_options() {
            let executor = cpu::Executor::new(&problem.plan, &options).unwrap();
            let found = executor.run(&problem.inputs).unwrap();
            runs += 1;
            let difference = problems::compare(&found[0], &expected[0], problem.tolerance);
            if !difference.within {
                failures.push(format!("{} ({options:?}): {difference}", problem.name));
            }
        }
    }
    println!("{runs} runs");
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_processor_refuses_f16() {
    let plans = problems::all().into_iter().map(|problem| problem.plan.with_precision(DType::F16));
    let stores = |plan: &Plan| plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
    let plan = plans.into_iter().find(stores).unwrap();
    let error = cpu::Executor::new(&plan, &cpu::Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
