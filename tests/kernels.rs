//! All test cases with all kernel configurations against the reference implementation, on the adapter and on the CPU.
#![cfg(all(feature = "cpu", feature = "gpu"))]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tagwave::ErrorKind;
use tagwave::cpu::{self, Convolution, SimdLevel};
use tagwave::executor::ExecuteError;
use tagwave::executor::blocking::Run;
use tagwave::gpu::{Context, Executor, Options};
use tagwave::kernels::{KernelConfig, Limits, Operation};
use tagwave::plan::Plan;
use tagwave::reference;
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases::{self, TestCase};

/// Limits so small that every dispatch is split, and that select hardware configurations on a software driver, and vice
/// versa.
fn tight(case: &TestCase, native: &Limits) -> Limits {
    let step = &case.plan.steps()[0];
    let shapes = case.plan.shapes(step);
    let call = case.plan.call(step, &shapes);
    let other = Limits { software: !native.software, ..native.clone() };
    let workgroups = |config: &KernelConfig| -> u64 {
        let dispatch = step.op.dispatch(&call, *config, &other).unwrap();
        dispatch.workgroups.iter().map(|&count| u64::from(count)).product()
    };
    // Just enough for the configuration that needs the most.
    let most = case.configs(&other).iter().map(workgroups).max().unwrap_or(1);
    // Axes besides the first are not split.
    let widest = |config: &KernelConfig| -> u32 {
        let [_, y, z] = step.op.dispatch(&call, *config, &other).unwrap().workgroups;
        y.max(z)
    };
    let least = case.configs(&other).iter().map(widest).max().unwrap_or(1);
    let per_axis = (most.isqrt() as u32 + 1).max(least).min(native.max_workgroups_per_axis);
    Limits { max_workgroups_per_axis: per_axis, ..other }
}

/// Variants of a test case: storage types and limits. Large test cases have one variant.
fn variants(case: &TestCase, native: &Limits) -> Vec<(TestCase, Limits)> {
    let mut variants = vec![(case.clone(), native.clone())];
    if case.inputs[0].data().len() < 1 << 20 {
        variants.push((case.clone(), tight(case, native)));
        if native.f16 {
            variants.push((case.stored_as(DType::F16), native.clone()));
        }
    }
    variants
}

/// Returns the last clip of a batch.
fn last_clip(inputs: &[HostTensor]) -> Vec<HostTensor> {
    let last = inputs.iter().map(|input| {
        let clip = input.shape().len() / input.shape().extent(0);
        HostTensor::new(input.shape().with_batch(1), input.data()[input.data().len() - clip..].to_vec())
    });
    last.collect::<Result<_, _>>().unwrap()
}

/// Runs one test case with all variants and configurations, checked and unchecked, and its last clip alone, which must
/// give the same bits; returns the number of runs and the failures.
fn check(gpu: &Context, case: &TestCase) -> (usize, Vec<String>) {
    let (mut runs, mut failures) = (0, Vec::new());
    for (variant, (case, limits)) in variants(case, &gpu.summary().limits).into_iter().enumerate() {
        let expected = reference::run(&case.plan, &case.inputs).unwrap();
        let unchecked = variant == 0 && case.inputs[0].data().len() < 1 << 20;
        let checked = if unchecked { &[true, false][..] } else { &[true] };
        for (config, &checked) in
            case.configs(&limits).into_iter().flat_map(|s| checked.iter().map(move |c| (s, c)))
        {
            let options = Options {
                max_batch: case.plan.batch(),
                config: Some(config),
                limits: Some(limits.clone()),
                checked,
                ..Options::default()
            };
            let executor = Executor::new(gpu, &case.plan, &options);
            runs += 1;
            let results = executor.and_then(|executor| {
                Ok((executor.run(&case.inputs)?, executor.run(last_clip(&case.inputs))?))
            });
            match results {
                Ok((found, alone)) => {
                    let (all, one) = (found[0].data(), alone[0].data());
                    if !case.plan.depends_on_batch() && !all.ends_with(one) {
                        failures.push(format!("{} ({config:?}): other bits alone", case.name));
                    }
                    let difference = case.compare(&found[0], &expected[0]);
                    if !difference.within {
                        failures.push(format!("{} ({config:?}): {difference}", case.name));
                    }
                }
                Err(error) => failures.push(format!("{} ({config:?}): {error}", case.name)),
            }
        }
    }
    (runs, failures)
}

#[test]
fn every_kernel_agrees_with_the_reference() {
    let Some(gpu) = common::gpu() else { return };
    if !gpu.summary().limits.f16 {
        println!("f16: not run on this adapter");
    }
    let cases = test_cases::all();
    // Compiling shaders keeps one core busy: two threads take turns at the list.
    let next = AtomicUsize::new(0);
    let results = Mutex::new((0, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (runs, failures) = check(&gpu, case);
                    let mut results = results.lock().unwrap();
                    results.0 += runs;
                    results.1.extend(failures);
                }
            });
        }
    });
    let (runs, failures): (usize, Vec<String>) = results.into_inner().unwrap();
    println!("{} test cases, {runs} runs", cases.len());
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Every SIMD level, every convolution algorithm, one thread and three.
fn processor_options() -> Vec<cpu::Options> {
    let mut options = Vec::new();
    for simd_level in SimdLevel::available() {
        for convolution in [None, Some(Convolution::Direct), Some(Convolution::Winograd)] {
            for threads in [1, 3] {
                options.push(cpu::Options {
                    threads: Some(threads),
                    convolution,
                    simd_level: Some(simd_level),
                    ..Default::default()
                });
            }
        }
    }
    options
}

#[test]
fn the_cpu_executor_agrees_with_the_reference() {
    let mut failures = Vec::new();
    let mut runs = 0;
    for case in test_cases::all() {
        // The processor takes clips that depend on each other one at a time, and refuses the rest.
        if case.plan.depends_on_batch() && case.plan.batch() > 1 {
            let executor = cpu::Executor::new(&case.plan, &cpu::Options::default()).unwrap();
            let error = executor.run(&case.inputs).unwrap_err();
            assert!(matches!(error, ExecuteError::DependentBatch { .. }), "{error}");
            continue;
        }
        let expected = reference::run(&case.plan, &case.inputs).unwrap();
        for options in processor_options() {
            let executor = cpu::Executor::new(&case.plan, &options).unwrap();
            let found = executor.run(&case.inputs).unwrap();
            runs += 1;
            let difference = case.compare(&found[0], &expected[0]);
            if !difference.within {
                failures.push(format!("{} ({options:?}): {difference}", case.name));
            }
        }
    }
    println!("{runs} runs");
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_cpu_executor_refuses_f16() {
    let plans = test_cases::all().into_iter().map(|case| case.plan.with_precision(DType::F16));
    let stores = |plan: &Plan| plan.tensors().iter().any(|tensor| tensor.dtype == DType::F16);
    let plan = plans.into_iter().find(stores).unwrap();
    let error = cpu::Executor::new(&plan, &cpu::Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
