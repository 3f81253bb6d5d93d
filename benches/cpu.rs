//! Speed of the CPU executor: checks each model against the reference executor, then times it.
//!
//! `cargo bench --bench cpu -- [--models crnn,cnn,compact,front-end] [--batches 1,8] [--threads 1,2]
//! [--seconds 3] [--simd_level avx2] [--steps] [--json]`
//!
//! Weights are synthetic: speed does not depend on their values. Clips per CPU second divide by the
//! CPU time of the process and hardly notice busy neighbours.

use std::error::Error;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use tagwave::cpu::{Executor, Options, SimdLevel};
use tagwave::executor::Inputs;
use tagwave::executor::blocking::Run;
use tagwave::lab::synthetic_weights;
use tagwave::models::{Architecture, Compat, SCORES, Starts, cnn, compact, crnn};
use tagwave::plan::Plan;
use tagwave::reference;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{Tolerance, compare};

type Failure = Box<dyn Error>;

/// Measurements to make.
struct Arguments {
    models: Vec<String>,
    batches: Vec<usize>,
    threads: Vec<usize>,
    seconds: f64,
    simd_level: Option<SimdLevel>,
    steps: bool,
    json: bool,
}

impl Arguments {
    fn parse() -> Result<Arguments, Failure> {
        let mut arguments = Arguments {
            models: ["crnn", "cnn", "compact", "front-end"].map(String::from).into(),
            batches: vec![1, 8],
            threads: vec![1, 2],
            seconds: 3.0,
            simd_level: None,
            steps: false,
            json: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--models" => arguments.models = value()?.split(',').map(String::from).collect(),
                "--batches" => arguments.batches = numbers(&value()?)?,
                "--threads" => arguments.threads = numbers(&value()?)?,
                "--seconds" => arguments.seconds = value()?.parse()?,
                "--simd" => {
                    let name = value()?;
                    let found = SimdLevel::available().into_iter().find(|i| i.as_str() == name);
                    arguments.simd_level = Some(found.ok_or(format!("no {name} on this processor"))?);
                }
                "--steps" => arguments.steps = true,
                "--json" => arguments.json = true,
                // What cargo itself hands over.
                "--bench" => {}
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        Ok(arguments)
    }
}

fn numbers(list: &str) -> Result<Vec<usize>, Failure> {
    Ok(list.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

/// The plan called `model`, fused, and a batch of inputs for it.
fn case(model: &str, batch: usize) -> Result<(Plan, HostTensor), Failure> {
    let of = |architecture: &dyn Architecture, starts| {
        architecture.build(&synthetic_weights(architecture, 0), Compat::Corrected, starts)
    };
    let plan = match model {
        "crnn" => of(&crnn::Config::default(), Starts::Mel)?,
        "cnn" => of(&cnn::Config::default(), Starts::Mel)?,
        // The scores alone, as the peers give them.
        "compact" => of(&compact::Config::default(), Starts::Mel)?.only_outputs(&[SCORES]),
        "front-end" => {
            of(&cnn::Config::default(), Starts::Samples)?.tapped(&["input"])?.only_outputs(&["input"])
        }
        _ => return Err(format!("no model is called {model}").into()),
    };
    let plan = plan.fused().with_batch(batch);
    let shape = plan.tensors()[plan.inputs()[0]].shape;
    let x = match model {
        // A chirp, or values in the range of a spectrogram in dB.
        "front-end" => HostTensor::from_fn(shape, |i| {
            let t = (i % shape.extent(1)) as f32 / 12_000.0;
            0.5 * (t * (300.0 + 200.0 * t)).sin() + 0.01 * ((i * 7919) % 1009) as f32 / 1009.0
        }),
        _ => HostTensor::from_fn(shape, |i| ((i * 7919) % 1009) as f32 / 1009.0 * 60.0 - 55.0),
    };
    Ok((plan, x))
}

/// Fails where the executor and the reference executor disagree on the first clip.
fn check(model: &str) -> Result<(), Failure> {
    let (plan, x) = case(model, 1)?;
    let expected = reference::run(&plan, std::slice::from_ref(&x))?;
    let found = Executor::new(&plan, &Options::default())?.run(&[x])?;
    let difference = compare(&found[0], &expected[0], Tolerance { absolute: 5e-4, relative: 1e-4 });
    println!("{model}: {difference}");
    if difference.within { Ok(()) } else { Err(format!("{model}: {difference}").into()) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Times one cell: `run` again and again for `seconds`.
fn measure(executor: &Executor, x: &Inputs, seconds: f64) -> Result<[f64; 3], Failure> {
    executor.run(x)?;
    let batch = x.batch() as f64;
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while wall.len() < 5 || Instant::now() < end {
        let (start, busy) = (Instant::now(), ProcessTime::now());
        std::hint::black_box(executor.run(x)?);
        wall.push(start.elapsed().as_secs_f64());
        processor.push(busy.elapsed().as_secs_f64());
    }
    let best = wall.iter().copied().fold(f64::INFINITY, f64::min);
    Ok([batch / median(wall), batch / best, batch / median(processor)])
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse()?;
    for model in &arguments.models {
        if !arguments.json {
            check(model)?;
        }
        for &threads in &arguments.threads {
            for &batch in &arguments.batches {
                let (plan, x) = case(model, batch)?;
                let x = Inputs::from(x);
                let options = Options {
                    threads: Some(threads),
                    max_batch: batch,
                    simd_level: arguments.simd_level,
                    ..Options::default()
                };
                let executor = Executor::new(&plan, &options)?;
                let [speed, best, per_cpu] = measure(&executor, &x, arguments.seconds)?;
                if arguments.json {
                    println!(
                        r#"{{"peer": "tagwave", "model": "{model}", "batch": {batch}, "threads": {threads}, "clips_per_s": {speed:.2}, "max": {best:.2}, "clips_per_cpu_s": {per_cpu:.2}}}"#
                    );
                } else {
                    println!(
                        "{model:10} batch {batch:3} threads {threads:2} ({}): {speed:8.2} clips/s (best {best:8.2}) {per_cpu:8.2} clips/CPU s {:7.3} CPU ms/clip",
                        executor.simd_level().as_str(),
                        1e3 / per_cpu
                    );
                }
                if arguments.steps && threads == 1 {
                    steps(&executor, &x)?;
                }
            }
        }
    }
    Ok(())
}

/// Time of each step per clip, the fastest of several runs.
fn steps(executor: &Executor, x: &Inputs) -> Result<(), Failure> {
    let clips = x.batch() as f64;
    let mut best = executor.profile(x)?;
    for _ in 0..20 {
        for (best, time) in best.iter_mut().zip(executor.profile(x)?) {
            best.time = best.time.min(time.time);
        }
    }
    for step in best {
        let seconds = step.time.as_secs_f64();
        let speed = step.flops as f64 / seconds / 1e9;
        println!(
            "    {:12} {:16} {:8.3} ms/clip {speed:8.1} GFLOP/s",
            step.step,
            step.kernel,
            seconds / clips * 1e3
        );
    }
    Ok(())
}
