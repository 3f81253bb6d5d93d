//! Time of a model on a device: per step from GPU timestamps, then whole batches.
//!
//! `cargo bench --bench pipeline -- [DEVICE] [BATCH]`. Weights are synthetic: speed does not depend on them.

use std::time::{Duration, Instant};

use tagwave::executor::Inputs;
use tagwave::executor::blocking::Run;
use tagwave::gpu::{Context, Executor, Options, Selection};
use tagwave::lab::synthetic_weights;
use tagwave::models::{self, Compat, Starts};
use tagwave::tensor::HostTensor;
use tagwave::test_cases::synthetic_clip;

fn main() {
    // `cargo bench` passes --bench.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let selection = words.first().map_or(Selection::Best, |name| Selection::Name(name.clone()));
    let batch: usize = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(1);
    let gpu = match Context::request(&selection) {
        Ok(gpu) => gpu,
        Err(error) => return println!("not run: {error}"),
    };
    let adapter = gpu.summary();
    println!("adapter {} ({}, {}), batch {batch}", adapter.name, adapter.backend, adapter.driver);
    for model in models::all() {
        let weights = synthetic_weights(model.architecture(), 0);
        let plan = model
            .architecture()
            .build(&weights, Compat::Corrected, Starts::Samples)
            .expect("painted weights fit");
        let start = Instant::now();
        let options = Options { max_batch: batch, ..Options::default() };
        let executor = Executor::new(&gpu, &plan.fused(), &options).expect("the device takes the plan");
        let made = start.elapsed();
        let samples = model.architecture().clip().samples;
        let clip = synthetic_clip(samples);
        let input = Inputs::from(HostTensor::from_fn([batch, samples], |i| clip[i % samples]));
        let start = Instant::now();
        executor.run(&input).expect("a batch runs");
        println!("\n{}: pipelines {made:.2?}, first batch {:.2?}", model.name(), start.elapsed());
        match executor.profile(&input) {
            Ok(times) => {
                for time in &times {
                    let gflops = time.flops as f64 / time.time.as_secs_f64() / 1e9;
                    println!(
                        "  {:<14} {:<14} {:>10.2?} {gflops:>8.2} GFLOP/s",
                        time.step, time.kernel, time.time
                    );
                }
                println!("  sum {:.2?}", times.iter().map(|time| time.time).sum::<Duration>());
            }
            Err(error) => println!("  {error}"),
        }
        let mut runs: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                executor.run(&input).expect("a batch runs");
                start.elapsed().as_secs_f64()
            })
            .collect();
        runs.sort_by(f64::total_cmp);
        let clips = |seconds: f64| batch as f64 / seconds;
        println!("  {:.2} clips/s ({:.2} to {:.2})", clips(runs[2]), clips(runs[4]), clips(runs[0]));
    }
}
