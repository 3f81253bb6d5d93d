//! `tagwave bench model`.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use cpu_time::ProcessTime;
use serde_json::json;

use super::super::target::{ExecutorOptions, Target};
use super::super::tune::cached_tuning;
use super::super::{CliError, CompatArg, DeviceArgs, PrecisionArg, print_line};
use tagwave::cpu::SimdLevel;
use tagwave::error::Error;
use tagwave::executor::blocking::Run;
use tagwave::executor::{Executor, Inputs, StepTime};
use tagwave::kernels::{Kernels, Operation};
use tagwave::lab::{filled_plan, front_end, network, synthetic_input};
use tagwave::models::{self, Model, ModelError};
use tagwave::plan::{Plan, Step};
use tagwave::tensor::DType;

/// Arguments of `tagwave bench model`.
#[derive(Debug, Args)]
#[command(after_help = "`tagwave selftest` checks the results of a device.")]
pub(super) struct ModelBenchArgs {
    /// Models [default: all]; `mel` is the front end alone, from samples to the input of the network
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,

    /// First tensor of the models
    #[arg(long, value_enum, default_value_t)]
    from: FromArg,

    /// Batch sizes in clips
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8], value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,

    /// Seconds to run each configuration
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,

    /// Storage types of activations and weights on the device
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PrecisionArg::F32])]
    precision: Vec<PrecisionArg>,

    /// Compile kernels with index checks, as tests do, to measure their cost
    #[arg(long)]
    checked: bool,

    /// Number of CPU threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// SIMD level of the CPU executor, as listed by `tagwave devices` [default: the widest]
    #[arg(long, value_name = "LEVEL", value_parser = simd_level)]
    simd: Option<SimdLevel>,

    /// Print the time of each step
    #[arg(long)]
    steps: bool,

    /// One JSON object per line instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FromArg {
    /// Samples at 12 kHz
    #[default]
    Samples,
    /// The spectrogram: the network alone, as other inference engines run it
    Spectrogram,
}

fn seconds(text: &str) -> Result<f64, String> {
    let range = 0.01..=600.0;
    let number = text.parse().ok().filter(|seconds| range.contains(seconds));
    number.ok_or_else(|| "expected a number from 0.01 to 600".into())
}

fn simd_level(text: &str) -> Result<SimdLevel, String> {
    let levels = SimdLevel::available();
    levels.iter().copied().find(|level| level.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = levels.iter().map(|level| level.as_str()).collect();
        format!("this processor has {}", names.join(", "))
    })
}

/// Name of the front end among the models.
const FRONT_END: &str = "mel";

/// Number of profiled batches, of which the fastest counts.
const PROFILES: usize = 5;

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
    let chosen = chosen_models(&args.model)?;
    if args.from == FromArg::Spectrogram && chosen.iter().any(|(name, _)| name == FRONT_END) {
        let message = "the front end `mel` starts from samples: omit it, or --from spectrogram";
        return Err(CliError::usage(message));
    }
    if !args.json {
        print_line(&format!("device {}", target.name()))?;
        print_line(
            "model    batch precision   clips/s  (slowest to fastest batch)   ms/batch  ms in kernels  clips/CPU s",
        )?;
    }
    let gpu = match &target {
        Target::Gpu(gpu) => Some(&**gpu),
        Target::Cpu => None,
    };
    for (name, model) in &chosen {
        for &batch in &args.batch {
            for precision in &args.precision {
                let precision = precision.resolve(gpu, CompatArg::Corrected);
                let plan = plan(args.from, name, model, precision)?;
                let measured = ModelTimes::new(args, &target, &plan, usize::from(batch))?;
                if args.json {
                    print_line(&measured.json(name, precision, &target.name()))?;
                } else {
                    measured.print(name, precision, args.steps)?;
                }
            }
        }
    }
    Ok(0)
}

/// Models to time, with the names to print.
fn chosen_models(names: &[String]) -> Result<Vec<(String, Model)>, Error> {
    if names.is_empty() {
        return Ok(models::all().into_iter().map(|model| (model.name().to_string(), model)).collect());
    }
    let model = |name: &String| -> Result<(String, Model), ModelError> {
        let published = if name == FRONT_END { models::DEFAULT } else { name };
        Ok((name.clone(), models::find(published)?))
    };
    Ok(names.iter().map(model).collect::<Result<_, _>>()?)
}

fn plan(from: FromArg, name: &str, model: &Model, precision: DType) -> Result<Plan, Error> {
    match from {
        FromArg::Samples if name == FRONT_END => front_end(model, precision),
        FromArg::Samples => filled_plan(model, precision),
        FromArg::Spectrogram => network(model, precision),
    }
}

/// Times of one configuration.
struct ModelTimes {
    batch: usize,
    /// Seconds of each batch, sorted.
    seconds: Vec<f64>,
    /// Median of the seconds of CPU time of a batch, all threads together.
    cpu_seconds: f64,
    /// Seconds that the steps of the fastest profiled batch take for the whole batch, for a GPU with timestamps.
    kernel_seconds: Option<f64>,
    /// Number of clips of the profiled batch, which may be smaller.
    profiled_clips: usize,
    /// Step times of the fastest profiled batch; empty if not requested, or for a GPU without timestamps.
    steps: Vec<StepTime>,
}

impl ModelTimes {
    fn new(
        args: &ModelBenchArgs,
        target: &Target,
        plan: &Plan,
        batch: usize,
    ) -> Result<ModelTimes, CliError> {
        let options = ExecutorOptions {
            max_batch: batch,
            checked: args.checked,
            threads: args.threads.map(usize::from),
            simd_level: args.simd,
            ..Default::default()
        };
        let executor = target.executor(plan, &options)?;
        let input = Inputs::from(synthetic_input(plan, batch));
        executor.run(&input).map_err(Error::from)?; // warm-up
        let end = Instant::now() + Duration::from_secs_f64(args.seconds);
        let (mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new());
        while seconds.len() < 3 || Instant::now() < end {
            let (start, cpu_start) = (Instant::now(), ProcessTime::now());
            executor.run(&input).map_err(Error::from)?;
            seconds.push(start.elapsed().as_secs_f64());
            cpu_seconds.push(cpu_start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        cpu_seconds.sort_by(f64::total_cmp);
        let is_gpu = matches!(target, Target::Gpu(_));
        let steps = if is_gpu || args.steps { profile(&*executor, &input) } else { Vec::new() };
        // A submission may hold less than the batch.
        let profiled_flops: u64 = steps.iter().map(|step| step.flops).sum();
        let parts = flops(&plan.with_batch(batch)) as f64 / profiled_flops as f64;
        let sum: f64 = steps.iter().map(|step| step.time.as_secs_f64()).sum();
        Ok(ModelTimes {
            batch,
            cpu_seconds: cpu_seconds[cpu_seconds.len() / 2],
            seconds,
            kernel_seconds: (is_gpu && !steps.is_empty()).then_some(sum * parts),
            profiled_clips: (batch as f64 / parts).round() as usize,
            steps,
        })
    }

    fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    fn clips_per_s(&self, seconds: f64) -> f64 {
        self.batch as f64 / seconds
    }

    fn print(&self, name: &str, precision: DType, with_steps: bool) -> Result<(), CliError> {
        let kernels = self.kernel_seconds.map_or("-".into(), |seconds| format!("{:.3}", 1e3 * seconds));
        let [fastest, slowest] = [self.seconds[0], self.seconds[self.seconds.len() - 1]];
        print_line(&format!(
            "{name:8} {:5} {:9} {:9.2}  ({:.2} to {:.2})   {:.2}  {kernels}  {:.2}",
            self.batch,
            precision.to_string(),
            self.clips_per_s(self.median()),
            self.clips_per_s(slowest),
            self.clips_per_s(fastest),
            1e3 * self.median(),
            self.clips_per_s(self.cpu_seconds),
        ))?;
        if !with_steps {
            return Ok(());
        }
        for step in &self.steps {
            let seconds = step.time.as_secs_f64();
            print_line(&format!(
                "    {:14} {:20} {:9.3} ms/clip {:9.1} GFLOP/s",
                step.step,
                step.kernel,
                1e3 * seconds / self.profiled_clips as f64,
                step.flops as f64 / seconds / 1e9
            ))?;
        }
        Ok(())
    }

    fn json(&self, name: &str, precision: DType, device: &str) -> String {
        let step = |step: &StepTime| {
            json!({
                "step": step.step,
                "kernel": step.kernel,
                "ms_per_clip": 1e3 * step.time.as_secs_f64() / self.profiled_clips as f64,
                "flops_per_clip": step.flops / self.profiled_clips as u64,
            })
        };
        json!({
            "device": device,
            "model": name,
            "batch": self.batch,
            "precision": precision.to_string(),
            "clips_per_s": self.clips_per_s(self.median()),
            "clips_per_s_max": self.clips_per_s(self.seconds[0]),
            "clips_per_cpu_s": self.clips_per_s(self.cpu_seconds),
            "kernel_ms": self.kernel_seconds.map(|seconds| 1e3 * seconds),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

/// Step times of the fastest of several batches; empty on a device without timestamps.
fn profile(executor: &dyn Executor, input: &Inputs) -> Vec<StepTime> {
    let sum = |steps: &Vec<StepTime>| steps.iter().map(|step| step.time).sum::<Duration>();
    (0..PROFILES).filter_map(|_| executor.profile(input).ok()).min_by_key(sum).unwrap_or_default()
}

/// Operations of a whole batch.
fn flops(plan: &Plan) -> u64 {
    let of = |step: &Step| {
        let shapes = plan.shapes(step);
        step.op.flops(&plan.call(step, &shapes))
    };
    plan.steps().iter().map(of).sum()
}
