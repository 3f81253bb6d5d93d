//! `tagwave bench model`.

use std::time::{Duration, Instant};

use clap::Args;

use super::super::target::{ExecutorOptions, Target};
use super::super::tune::cached_tuning;
use super::super::{CliError, CompatArg, DeviceArgs, PrecisionArg, print_line};
use tagwave::error::Error;
use tagwave::executor::Inputs;
use tagwave::executor::blocking::Run;
use tagwave::kernels::{Kernels, Operation};
use tagwave::lab::{filled_plan, front_end};
use tagwave::models::{self, Model, ModelError};
use tagwave::plan::{Plan, Step};
use tagwave::tensor::HostTensor;
use tagwave::test_cases::synthetic_clip;

/// Arguments of `tagwave bench model`.
#[derive(Debug, Args)]
pub(super) struct ModelBenchArgs {
    /// Models [default: all]; `mel` is the front end alone, from samples to the input of the network
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,

    /// Batch sizes in clips
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8], value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,

    /// Seconds to run each configuration
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// Storage types of activations and weights on the device
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PrecisionArg::F32])]
    precision: Vec<PrecisionArg>,

    /// Compile kernels with index checks, as tests do, to measure their cost
    #[arg(long)]
    checked: bool,

    /// Number of CPU threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Name of the front end among the models.
const FRONT_END: &str = "mel";

/// Times models and prints a line for each batch size.
pub(super) fn bench(args: &ModelBenchArgs) -> Result<u8, CliError> {
    let target = match Target::new(&args.device.device)? {
        // As `tag` does: with the results of `tagwave tune`.
        Target::Gpu(gpu) => {
            let kernels = Kernels { tuning: cached_tuning(&gpu), user_kernels: Vec::new() };
            Target::Gpu(Box::new(gpu.with_kernels(kernels)))
        }
        target => target,
    };
    let chosen: Vec<(String, Model)> = if args.model.is_empty() {
        models::all().into_iter().map(|model| (model.name().to_string(), model)).collect()
    } else {
        let names = args.model.iter().map(String::as_str);
        let model = |name| match name {
            FRONT_END => models::find(models::DEFAULT),
            name => models::find(name),
        };
        names
            .map(|name| Ok((name.to_string(), model(name)?)))
            .collect::<Result<_, _>>()
            .map_err(|error: ModelError| Error::from(error))?
    };
    print_line(&format!("device {}", target.name()))?;
    print_line("model    batch precision   clips/s  (slowest to fastest batch)   ms/batch  ms in kernels")?;
    for (name, model) in &chosen {
        let gpu = match &target {
            Target::Gpu(gpu) => Some(&**gpu),
            Target::Cpu => None,
        };
        for (&batch, asked) in
            args.batch.iter().flat_map(|batch| args.precision.iter().map(move |asked| (batch, asked)))
        {
            let precision = asked.resolve(gpu, CompatArg::Corrected);
            let plan = match &**name {
                FRONT_END => front_end(model, precision)?,
                _ => filled_plan(model, precision)?,
            };
            let (seconds, kernels) =
                measure(args, &target, &plan, usize::from(batch), model.architecture().clip().samples)?;
            let kernels = kernels.map_or("-".into(), |seconds| format!("{:.3}", 1e3 * seconds));
            let rate = |seconds: f64| f64::from(batch) / seconds;
            let (best, middle, worst) = (seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
            print_line(&format!(
                "{:8} {batch:5} {:9} {:9.2}  ({:.2} to {:.2})   {:.2}  {kernels}",
                name,
                precision.to_string(),
                rate(middle),
                rate(worst),
                rate(best),
                1e3 * middle
            ))?;
        }
    }
    Ok(0)
}

/// Seconds of each batch, sorted, and the least seconds of a batch's kernels where the device has timestamps.
fn measure(
    args: &ModelBenchArgs,
    target: &Target,
    plan: &Plan,
    batch: usize,
    samples: usize,
) -> Result<(Vec<f64>, Option<f64>), CliError> {
    let threads = args.threads.map(usize::from);
    let options = ExecutorOptions { max_batch: batch, config: None, checked: args.checked, threads };
    let executor = target.executor(plan, &options)?;
    let clip = synthetic_clip(samples);
    let input = Inputs::from(HostTensor::from_fn([batch, samples], |i| clip[i % samples]));
    executor.run(&input).map_err(Error::from)?; // warm-up
    let end = Instant::now() + Duration::from_secs(args.seconds.into());
    let mut seconds = Vec::new();
    while seconds.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        executor.run(&input).map_err(Error::from)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let flops = flops(&plan.with_batch(batch));
    let kernels = || match target {
        Target::Cpu => None,
        Target::Gpu(_) => {
            let steps = executor.profile(&input).ok()?;
            let seconds: f64 = steps.iter().map(|step| step.time.as_secs_f64()).sum();
            // A submission may hold less than the batch.
            Some(seconds * flops as f64 / steps.iter().map(|step| step.flops).sum::<u64>() as f64)
        }
    };
    let in_kernels = (0..5).filter_map(|_| kernels()).min_by(f64::total_cmp);
    Ok((seconds, in_kernels))
}

/// Operations of a whole batch.
fn flops(plan: &Plan) -> u64 {
    let of = |step: &Step| {
        let shapes = plan.shapes(step);
        step.op.flops(&plan.call(step, &shapes))
    };
    plan.steps().iter().map(of).sum()
}
