//! `tagwave lab`: checks a user kernel and times it next to the built-in ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::compiled::{self, Compiler};
use super::target::Target;
use super::{CliError, CompatArg, DeviceArgs, PrecisionArg, SOME_FAILED, USAGE, print_line};
use tagwave::error::Error;
use tagwave::gpu::{Context, Options};
use tagwave::kernels::{KernelConfig, Kernels, Operation, UserKernel, parse_constant};
use tagwave::lab::{
    Bench, Layer, Measurement, check_test_cases, configs, contract, forced, kernel_names, layers,
    probe_layer, template, unobtrusive_batch,
};
use tagwave::models;

/// Arguments of `tagwave lab`.
#[derive(Debug, Args)]
#[command(after_help = "\
The header of the file names the built-in kernel whose contract it follows, and its constants:\n\
    // contract  conv2d_direct WG=8 QT=2 OV=4\n\
The file is compiled with index checks (unless --trust), compared with the reference implementation on all test cases of \
the op, then timed on the layers of the models next to the built-in kernels.")]
pub(super) struct LabArgs {
    /// The kernel file
    #[arg(value_name = "FILE.wgsl", required_unless_present = "new")]
    file: Option<PathBuf>,

    /// Print a commented template for a kernel of this op (or built-in kernel)
    #[arg(long, value_name = "OP", conflicts_with = "file")]
    new: Option<String>,

    /// Run again whenever the file is saved, until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Value of a constant of the file
    #[arg(long, value_name = "NAME=V", value_parser = constant)]
    constant: Vec<(String, u32)>,

    /// Values of a constant to try; several options try all combinations
    #[arg(long, value_name = "NAME=A,B,C", value_parser = sweep)]
    sweep: Vec<(String, Vec<u32>)>,

    /// Layers to time by parts of their names, such as crnn.conv2 [default: all that the kernel can run]
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    layer: Vec<String>,

    /// Built-in kernels to time as well, by parts of their names [default: all]
    #[arg(long, value_name = "KERNEL", value_delimiter = ',')]
    beside: Vec<String>,

    /// Batch size in clips
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Storage type of activations and weights on the device
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,

    /// Skip the test cases of the op; sampled outputs of each layer are still checked
    #[arg(long, alias = "skip-problems")]
    skip_test_cases: bool,

    /// Compile the file without checks of indices and loops: it may then access any memory that the driver allows
    #[arg(long)]
    trust: bool,

    /// Print registers, memory and instructions of the compiled kernel and of the built-in ones, as the driver states them
    /// (Mesa's for AMD and NVIDIA do), in place of checking and timing
    #[arg(long, conflicts_with_all = ["watch", "sweep"])]
    compiled: bool,

    /// Command that starts the compiling process, for a driver that is not installed
    #[arg(long, value_name = "COMMAND", default_value = "", requires = "compiled")]
    under: String,

    /// Compiles, as the second process of --compiled
    #[arg(long, hide = true)]
    compile_only: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

fn constant(word: &str) -> Result<(String, u32), String> {
    parse_constant(word).ok_or_else(|| "expected NAME=NUMBER, at least 1".into())
}

fn sweep(word: &str) -> Result<(String, Vec<u32>), String> {
    let wrong = || "expected NAME=A,B,C, each at least 1".to_string();
    let (name, values) = word.split_once('=').ok_or_else(wrong)?;
    let values = values.split(',').map(|value| parse_constant(&format!("{name}={value}")).map(|(_, v)| v));
    Ok((name.to_string(), values.collect::<Option<_>>().ok_or_else(wrong)?))
}

/// Maximum number of combinations of a sweep.
const COMBINATIONS: usize = 256;

/// Checks and times a kernel, or prints a template.
pub(super) fn lab(args: &LabArgs) -> Result<u8, CliError> {
    if let Some(op) = &args.new {
        return new(op);
    }
    let Some(file) = &args.file else { return Ok(USAGE) };
    if args.compile_only {
        return compile(args, file).map(|()| 0);
    }
    if args.compiled {
        // A missing file is an error of this process.
        load(file)?;
        return compiled::print(&compiled::run(&args.under)?, false).map(|()| 0);
    }
    let Target::Gpu(gpu) = Target::new(&args.device.device)? else {
        return Err(CliError { message: "kernels need a GPU: choose one with --device".into(), code: USAGE });
    };
    print_line(&format!("device {}", gpu.summary().name))?;
    // A missing file is an error, also with --watch.
    load(file)?;
    if !args.watch {
        return run_once(args, file, &gpu).map(|()| 0);
    }
    let mut seen: Option<SystemTime> = None;
    loop {
        let saved = std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
        if saved.is_some() && saved != seen {
            seen = saved;
            match run_once(args, file, &gpu) {
                Ok(()) => print_line("waiting for the file to be saved")?,
                Err(failed) => say!("tagwave: {}", failed.message),
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Compiles the kernel of the file, and the built-in ones, for the requested layers.
fn compile(args: &LabArgs, file: &Path) -> Result<(), CliError> {
    let gpu = compiled::device(&args.device.device)?;
    let (custom, op) = custom_kernel(args, file)?;
    let precision = args.precision.resolve(Some(&gpu), CompatArg::Corrected);
    let own = Kernels { user_kernels: vec![Arc::new(custom.clone())], ..Kernels::default() };
    let options = Options { kernels: Some(Arc::new(own)), ..Options::default() };
    let layers = chosen_layers(args, &gpu, &op, &custom)?;
    let mut compiler = Compiler::new(gpu, precision, vec![args.batch]);
    for layer in &layers {
        compiler.compile(layer, Some(&custom.name), &options, false)?;
        let configs = configs(&compiler.gpu, &layer.plan);
        for config in configs.into_iter().filter(|config| is_beside(args, config)) {
            compiler.compile(layer, None, &forced(config, 1), false)?;
        }
    }
    Ok(())
}

/// True if a built-in kernel was asked for.
fn is_beside(args: &LabArgs, config: &KernelConfig) -> bool {
    args.beside.is_empty() || args.beside.iter().any(|part| config.kernel().contains(part.as_str()))
}

/// The kernel of the file with the constants of the command line, and its op.
fn custom_kernel(args: &LabArgs, file: &Path) -> Result<(UserKernel, String), CliError> {
    let mut custom = load(file)?;
    let (op, kernel) =
        contract(&custom.contract).ok_or_else(|| CliError::usage(unknown(&custom.contract)))?;
    custom.check_bindings(kernel.source).map_err(|error| CliError::usage(error.to_string()))?;
    if args.trust {
        // SAFETY: the user has explicitly asked for it with --trust, for a file of their own. It is needed for a fair
        // comparison with built-in kernels, which run without checks.
        custom = unsafe { custom.trusted() };
    }
    for (name, value) in &args.constant {
        custom = custom.with(name, *value);
    }
    let names = args.constant.iter().map(|(name, _)| name).chain(args.sweep.iter().map(|(name, _)| name));
    if let Some(name) = names.into_iter().find(|name| !custom.knows(name)) {
        return Err(CliError {
            message: format!("{}: no constant {name} in the file", file.display()),
            code: USAGE,
        });
    }
    Ok((custom, op))
}

/// Checks and times the current content of the file.
fn run_once(args: &LabArgs, file: &Path, gpu: &Context) -> Result<(), CliError> {
    let (custom, op) = custom_kernel(args, file)?;
    let combinations = combinations(&custom, &args.sweep)?;
    let precision = args.precision.resolve(Some(gpu), CompatArg::Corrected);
    let layers = chosen_layers(args, gpu, &op, &custom)?;
    let mut best: Option<(f64, String)> = None;
    'combination: for custom in combinations {
        let constants: Vec<_> =
            custom.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let title = format!("{} {}", custom.name, constants.join(" "));
        let own = Kernels { user_kernels: vec![Arc::new(custom.clone())], ..Kernels::default() };
        let options =
            Options { kernels: Some(Arc::new(own)), max_batch: args.batch.into(), ..Options::default() };
        if !args.skip_test_cases {
            match check_test_cases(gpu, &op, Some(&custom.contract), precision, &options) {
                Ok(0) => {
                    let message = format!("{title}: no test case of {op} runs with it on this device");
                    if args.sweep.is_empty() {
                        return Err(CliError { message, code: SOME_FAILED });
                    }
                    print_line(&message)?;
                    continue;
                }
                Ok(count) => print_line(&format!("{title}: {count} test cases passed"))?,
                Err(error) if !args.sweep.is_empty() => {
                    print_line(&format!("{title}: {error}"))?;
                    continue;
                }
                Err(error) => return Err(CliError { message: error.to_string(), code: SOME_FAILED }),
            }
        }
        let mut total = 0.0;
        for layer in &layers {
            let batch = unobtrusive_batch(gpu, layer, args.batch.into())?;
            if batch < args.batch.into() {
                print_line(&format!(
                    "{:16} at batch {batch}: a larger batch would block the device too long",
                    layer.name
                ))?;
            }
            let bench = Bench::new(gpu, layer, batch)?;
            let own = match measure(&bench, &options) {
                Err(error) if !args.sweep.is_empty() => {
                    print_line(&format!("{:16} {title}: {error}", layer.name))?;
                    continue 'combination;
                }
                measured => measured?,
            };
            print_line(&line(&layer.name, &title, &own))?;
            total += own.median.as_secs_f64();
            if args.sweep.is_empty() {
                for config in bench.configs().into_iter().filter(|config| is_beside(args, config)) {
                    let options =
                        Options { config: Some(config), max_batch: args.batch.into(), ..Options::default() };
                    match measure(&bench, &options) {
                        Ok(found) => print_line(&line(&layer.name, &config.to_string(), &found))?,
                        Err(error) => print_line(&format!("{:16} {config}: {}", layer.name, error))?,
                    }
                }
            }
        }
        if best.as_ref().is_none_or(|(least, _)| total < *least) {
            best = Some((total, title));
        }
    }
    match best {
        Some((total, title)) if !args.sweep.is_empty() => {
            print_line(&format!("best: {title}, {:.3} ms over {} layers", 1e3 * total, layers.len()))
        }
        Some(_) => Ok(()),
        None => Err(CliError { message: "no combination gives correct results".into(), code: SOME_FAILED }),
    }
}

/// Reads a user kernel.
pub(super) fn load(file: &Path) -> Result<UserKernel, CliError> {
    let usage = |message: String| CliError { message, code: USAGE };
    let text =
        std::fs::read_to_string(file).map_err(|error| usage(format!("{}: {error}", file.display())))?;
    let name = file.file_stem().map_or_else(|| "kernel".into(), |name| name.to_string_lossy().into_owned());
    UserKernel::parse(&name, &text).map_err(|error| usage(error.to_string()))
}

fn measure(bench: &Bench, options: &Options) -> Result<Measurement, Error> {
    bench.time(&bench.check(options)?, Duration::from_millis(400), 200)
}

fn line(layer: &str, kernel: &str, found: &Measurement) -> String {
    format!(
        "{layer:16} {kernel:44} {:10.3} ms ({:.3} to {:.3})  {:9.2} GFLOP/s  error {:.1e}",
        1e3 * found.median.as_secs_f64(),
        1e3 * found.range[0].as_secs_f64(),
        1e3 * found.range[1].as_secs_f64(),
        found.gflops(),
        found.error,
    )
}

/// Layers of the models that were requested and that the kernel can run.
fn chosen_layers(
    args: &LabArgs,
    gpu: &Context,
    op: &str,
    custom: &UserKernel,
) -> Result<Vec<Layer>, CliError> {
    let precision = args.precision.resolve(Some(gpu), CompatArg::Corrected);
    let mut all = layers(&models::all(), precision)?;
    all.push(probe_layer(precision));
    let fits = |layer: &Layer| layer.op().name() == op && layer.is_run_by(custom, &gpu.summary().limits);
    let requested = |layer: &Layer| {
        args.layer.is_empty() || args.layer.iter().any(|part| layer.name.contains(part.as_str()))
    };
    let found: Vec<_> = all.into_iter().filter(|layer| fits(layer) && requested(layer)).collect();
    if found.is_empty() && !args.layer.is_empty() {
        let message = format!("{} runs no layer of that name: omit --layer to list all", custom.contract);
        Err(CliError { message, code: USAGE })
    } else {
        Ok(found)
    }
}

/// All combinations of the swept constants.
fn combinations(custom: &UserKernel, sweep: &[(String, Vec<u32>)]) -> Result<Vec<UserKernel>, CliError> {
    let count = sweep.iter().try_fold(1usize, |count, (_, values)| count.checked_mul(values.len()));
    if count.is_none_or(|count| count > COMBINATIONS) {
        let message = format!("more than {COMBINATIONS} combinations: use fewer values in --sweep");
        return Err(CliError { message, code: USAGE });
    }
    let mut all = vec![custom.clone()];
    for (name, values) in sweep {
        all = all
            .iter()
            .flat_map(|custom| values.iter().map(|&value| custom.clone().with(name, value)))
            .collect();
    }
    Ok(all)
}

pub(super) fn unknown(name: &str) -> String {
    format!("unknown kernel or op {name:?}: expected one of {}", kernel_names().join(", "))
}

/// Prints a template: the portable built-in kernel of an op, with its contract.
fn new(name: &str) -> Result<u8, CliError> {
    let Some(text) = template(name) else {
        return Err(CliError { message: unknown(name), code: USAGE });
    };
    print_line(&text)?;
    Ok(0)
}
