//! Networks on the CPU executor, one thread: each is checked against the reference implementation, then timed.
//!
//! `cargo bench --bench cpu -- crnn`. Weights are synthetic: speed does not depend on their values. `tagwave bench model`
//! times whole models and their steps on any device.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tagwave::cpu::{Executor, Options};
use tagwave::executor::Inputs;
use tagwave::executor::blocking::Run;
use tagwave::lab::{network, synthetic_input};
use tagwave::models;
use tagwave::plan::Plan;
use tagwave::reference;
use tagwave::tensor::DType;
use tagwave::test_cases::{Tolerance, compare};

const BATCHES: [usize; 2] = [1, 8];

/// Stops the benchmark if results differ from the reference implementation.
fn check(executor: &Executor, plan: &Plan) {
    let x = synthetic_input(plan, 1);
    let expected = reference::run(plan, std::slice::from_ref(&x)).unwrap();
    let found = executor.run(x).unwrap();
    let difference = compare(&found[0], &expected[0], Tolerance { absolute: 5e-4, relative: 1e-4 });
    assert!(difference.within, "{difference}");
}

fn networks(criterion: &mut Criterion) {
    for model in models::all() {
        let plan = network(&model, DType::F32).unwrap();
        let options = Options { threads: Some(1), max_batch: BATCHES[1], ..Options::default() };
        let executor = Executor::new(&plan, &options).unwrap();
        let mut is_checked = false;
        let mut group = criterion.benchmark_group(model.name());
        for batch in BATCHES {
            let input = Inputs::from(synthetic_input(&plan, batch));
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
                if !std::mem::replace(&mut is_checked, true) {
                    check(&executor, &plan);
                }
                bencher.iter(|| executor.run(&input).unwrap());
            });
        }
    }
}

criterion_group!(benches, networks);
criterion_main!(benches);
