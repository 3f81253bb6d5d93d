//! `tagwave bench kernels`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::super::target::Target;
use super::super::{CliError, CompatArg, DeviceArgs, PrecisionArg, SOME_FAILED, USAGE, print_line};
use super::roofline::{self, BenchRow};
use tagwave::error::Cause;
use tagwave::gpu::Context;
use tagwave::kernels::{KernelConfig, Operation};
use tagwave::lab::{Bench, LONGEST, Layer, Peaks, check_test_cases, forced, layers, peaks, probe_layer};
use tagwave::models;
use tagwave::tensor::DType;

/// Arguments of `tagwave bench kernels`.
#[derive(Debug, Args)]
pub(super) struct KernelBenchArgs {
    /// Layers by parts of their names, such as conv2 or crnn.gru [default: all, and the probe]
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    layer: Vec<String>,

    /// Kernels by parts of their names [default: all]
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    kernel: Vec<String>,

    /// Batch sizes in clips
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 64, 256], value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,

    /// Storage types of activations and weights on the device
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PrecisionArg::F32])]
    precision: Vec<PrecisionArg>,

    /// Milliseconds to run each kernel; at least three runs
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    milliseconds: u16,

    /// Time limit in seconds; results until then are kept
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    seconds: Option<u16>,

    /// Skip the test cases with unusual shapes; outputs of timed layers are still checked
    #[arg(long, alias = "skip-problems")]
    skip_test_cases: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: BenchFormat,

    /// Draw a roofline plot (SVG): operations per second over operations per byte
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BenchFormat {
    #[default]
    Table,
    Jsonl,
}

/// Checks and times kernels and prints a row for each.
pub(super) fn bench(args: &KernelBenchArgs) -> Result<u8, CliError> {
    let Target::Gpu(gpu) = Target::new(&args.device.device)? else {
        return Err(CliError { message: "kernels need a GPU: choose one with --device".into(), code: USAGE });
    };
    let undrawn = |error: std::io::Error, file: &Path| CliError {
        message: format!("{}: {error}", file.display()),
        code: SOME_FAILED,
    };
    if let Some(file) = &args.plot {
        // Fails before measuring if the file cannot be written.
        std::fs::File::create(file).map_err(|error| undrawn(error, file))?;
    }
    let peaks = peaks(&gpu)?;
    head(args, &gpu, peaks)?;
    let (mut rows, mut failures) = (Vec::new(), 0);
    let start = Instant::now();
    let is_over = || args.seconds.is_some_and(|most| start.elapsed().as_secs() >= most.into());
    let mut left_out = 0;
    for precision in args.precision.iter().map(|asked| asked.resolve(Some(&gpu), CompatArg::Corrected)) {
        let mut all = layers(&models::all(), precision)?;
        all.push(probe_layer(precision));
        let requested = |layer: &&Layer| {
            args.layer.is_empty() || args.layer.iter().any(|part| layer.name.contains(part.as_str()))
        };
        let mut checked: Vec<(String, bool)> = Vec::new();
        for layer in all.iter().filter(requested) {
            for &batch in &args.batch {
                if is_over() {
                    left_out += 1;
                    continue;
                }
                failures += measure(args, &gpu, peaks, (layer, batch, precision), &mut checked, &mut rows)?;
            }
        }
    }
    if rows.is_empty() && failures == 0 && left_out == 0 {
        let message = "nothing was measured: no layer or kernel of that name runs on this device".into();
        return Err(CliError { message, code: SOME_FAILED });
    }
    if left_out > 0 {
        say!("tagwave: time limit reached; {left_out} measurements skipped");
    }
    if let Some(file) = &args.plot {
        let svg = roofline::svg(&gpu.summary().name, peaks, &rows);
        std::fs::write(file, svg).map_err(|error| undrawn(error, file))?;
    }
    Ok(if failures == 0 { 0 } else { SOME_FAILED })
}

/// Measures all configurations of a layer at one batch size; returns the number of those with wrong results.
fn measure(
    args: &KernelBenchArgs,
    gpu: &Context,
    peaks: Peaks,
    (layer, batch, precision): (&Layer, u16, DType),
    checked: &mut Vec<(String, bool)>,
    rows: &mut Vec<BenchRow>,
) -> Result<usize, CliError> {
    let batch = usize::from(batch);
    let report = |command: String| say!("tagwave: {} at batch {batch}: {command}", layer.name);
    let bench = match Bench::new(gpu, layer, batch) {
        Ok(bench) => bench,
        Err(error) => {
            report(format!("not run: {error}"));
            return Ok(0);
        }
    };
    let mut failures = 0;
    for config in bench.configs() {
        if !args.kernel.is_empty() && !args.kernel.iter().any(|part| config.kernel().contains(part.as_str()))
        {
            continue;
        }
        if let Some(time) = expected(rows, layer, batch, config)
            && !gpu.summary().limits.software
            && time > LONGEST
        {
            report(format!(
                "{config}: not run: it would block the device for {:.0} ms",
                1e3 * time.as_secs_f64()
            ));
            continue;
        }
        if !args.skip_test_cases && !passes_test_cases(gpu, layer, config, precision, checked) {
            failures += 1;
            continue;
        }
        let options = forced(config, batch);
        let budget = Duration::from_millis(args.milliseconds.into());
        match bench.check(&options).and_then(|prepared| bench.time(&prepared, budget, 1000)) {
            Ok(found) => {
                let row = BenchRow { layer: layer.name.clone(), batch, precision, found };
                print_line(&line(args, &row, gpu, peaks))?;
                rows.push(row);
            }
            Err(error) if matches!(error.cause(), Cause::Kernel { .. }) => {
                report(error.to_string());
                failures += 1;
            }
            Err(error) => report(format!("{config}: not run: {error}")),
        }
    }
    Ok(failures)
}

/// Estimates the time of a kernel at a batch size from the largest one measured before.
fn expected(rows: &[BenchRow], layer: &Layer, batch: usize, config: KernelConfig) -> Option<Duration> {
    let before = rows.iter().filter(|row| row.layer == layer.name && row.found.config == config);
    let before = before.max_by_key(|row| row.batch)?;
    Some(before.found.median.mul_f64(batch as f64 / before.batch as f64))
}

/// True if all configurations of a kernel pass the test cases of its op; the result is cached per kernel.
fn passes_test_cases(
    gpu: &Context,
    layer: &Layer,
    config: KernelConfig,
    precision: DType,
    checked: &mut Vec<(String, bool)>,
) -> bool {
    let key = format!("{} {}", layer.op().name(), config.kernel());
    if let Some((_, good)) = checked.iter().find(|(known, _)| *known == key) {
        return *good;
    }
    let options = tagwave::gpu::Options { config: Some(config), ..Default::default() };
    let result = check_test_cases(gpu, layer.op().name(), Some(config.kernel()), precision, &options);
    if let Err(error) = &result {
        say!("tagwave: {key}: not timed: {error}");
    }
    checked.push((key, result.is_ok()));
    result.is_ok()
}

fn head(args: &KernelBenchArgs, gpu: &Context, peaks: Peaks) -> Result<(), CliError> {
    if args.format == BenchFormat::Jsonl {
        return Ok(());
    }
    let adapter = gpu.summary();
    print_line(&format!("device {} ({}, {})", adapter.name, adapter.backend, adapter.driver))?;
    print_line(&format!(
        "measured peaks: {:.1} GFLOP/s in registers, {:.1} GB/s copying",
        peaks.gflops, peaks.gbytes
    ))?;
    print_line(
        "layer            batch kernel                                            ms  (least to most)      GFLOP/s  peak    GB/s  peak  error",
    )
}

fn line(args: &KernelBenchArgs, row: &BenchRow, gpu: &Context, peaks: Peaks) -> String {
    let found = &row.found;
    let ms = |time: Duration| 1e3 * time.as_secs_f64();
    let kernel = found.config.to_string();
    let (gflops, gbytes) = (found.gflops(), found.gbytes());
    if args.format == BenchFormat::Jsonl {
        let mut record = found.record(gpu.summary(), &row.layer, row.batch, row.precision);
        record["peak_gflops"] = peaks.gflops.into();
        record["peak_gbytes"] = peaks.gbytes.into();
        return record.to_string();
    }
    format!(
        "{:16} {:5} {:44} {:9.3}  ({:.3} to {:.3}) {:9.2} {:4.0}% {:7.2} {:4.0}%  {:.0e}",
        row.layer,
        row.batch,
        kernel,
        ms(found.median),
        ms(found.range[0]),
        ms(found.range[1]),
        gflops,
        100.0 * gflops / peaks.gflops,
        gbytes,
        100.0 * gbytes / peaks.gbytes,
        found.error,
    )
}
