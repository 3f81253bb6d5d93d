//! `tagwave bench model`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::target::Target;
use super::{DeviceArgs, Failed, PrecisionArg, say};
use crate::error::Error;
use crate::models::{self, Model, Reading, Starts};
use crate::plan::Plan;
use crate::problems::{paint_weight, synthetic_clip};
use crate::tensor::HostTensor;
use crate::weights::Weights;
use crate::{cpu, gpu};

/// Arguments of `tagwave bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Clips per second of whole models, by batch: from 12 kHz samples to scores, with painted weights
    Model(ModelBench),
}

/// Arguments of `tagwave bench model`.
#[derive(Debug, Args)]
struct ModelBench {
    /// Models, all by default
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,

    /// Clips of a batch
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8], value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,

    /// Seconds to run each of them
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// How the device stores activations and weights
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,

    /// Threads of the CPU [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Times models and prints a line for each batch size.
pub(super) fn bench(args: &BenchArgs) -> Result<u8, Failed> {
    let What::Model(args) = &args.what;
    let target = Target::new(&args.device.device)?;
    let chosen = match args.model.is_empty() {
        true => models::all(),
        false => {
            args.model.iter().map(|name| models::find(name)).collect::<Result<_, _>>().map_err(Error::from)?
        }
    };
    say(&format!("device {}", target.name()))?;
    say("model    batch   clips/s  (slowest to fastest batch)   ms/batch")?;
    for model in &chosen {
        for &batch in &args.batch {
            let seconds = measure(args, &target, model, usize::from(batch))?;
            let rate = |seconds: f64| f64::from(batch) / seconds;
            let (best, middle, worst) = (seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
            say(&format!(
                "{:8} {batch:5} {:9.2}  ({:.2} to {:.2})   {:.2}",
                model.name,
                rate(middle),
                rate(worst),
                rate(best),
                1e3 * middle
            ))?;
        }
    }
    Ok(0)
}

/// Seconds of each batch, the shortest first.
fn measure(args: &ModelBench, target: &Target, model: &Model, batch: usize) -> Result<Vec<f64>, Failed> {
    let run = executor(args, target, &plan(args, model)?, batch)?;
    let samples = model.architecture.clip().samples;
    let clip = synthetic_clip(samples);
    let input = [HostTensor::from_fn([batch, samples], |i| clip[i % samples])];
    run(&input)?; // the first batch makes what is kept
    let end = Instant::now() + Duration::from_secs(args.seconds.into());
    let mut seconds = Vec::new();
    while seconds.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        run(&input)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

fn plan(args: &ModelBench, model: &Model) -> Result<Plan, Error> {
    let specs = model.architecture.tensors();
    let painted = |(seed, spec): (usize, &crate::weights::TensorSpec)| {
        (spec.name.clone(), paint_weight(&spec.name, spec.shape, seed))
    };
    let weights = Weights::from_tensors(specs.iter().enumerate().map(painted));
    let plan = model.architecture.build(&weights, Reading::Restored, Starts::Samples)?;
    Ok(plan.fused().with_precision(args.precision.into()))
}

type Run = Box<dyn Fn(&[HostTensor]) -> Result<(), Error>>;

fn executor(args: &ModelBench, target: &Target, plan: &Plan, batch: usize) -> Result<Run, Error> {
    Ok(match target {
        Target::Gpu(gpu) => {
            let options = gpu::Options { max_batch: batch, ..Default::default() };
            let executor = gpu::Executor::new(gpu, plan, &options)?;
            Box::new(move |inputs| Ok(executor.run(inputs).map(drop)?))
        }
        Target::Cpu => {
            let threads = args.threads.map(usize::from);
            let options = cpu::Options { threads, max_batch: batch, ..Default::default() };
            let executor = cpu::Executor::new(plan, &options)?;
            Box::new(move |inputs| Ok(executor.run(inputs).map(drop)?))
        }
    })
}
