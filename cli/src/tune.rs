//! `tagwave tune`, and the kernel arguments of other commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::target::Target;
use super::{
    CliError, CompatArg, DeviceArgs, ModelArgs, PrecisionArg, SOME_FAILED, USAGE, cache_dir, lab, print_line,
    with_pipeline_cache,
};
use tagwave::error::Error;
use tagwave::gpu::{Context, Selection};
use tagwave::kernels::{Kernels, TuningTable, UserKernel};
use tagwave::lab::{Effort, layers, tune as tune_layers};
use tagwave::models::{self, Model};
use tagwave::sinks::write_file;
use tagwave::tagger::Device;
use tagwave::tensor::DType;

/// Arguments of `tagwave tune`.
#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    /// Models [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,

    /// Batch size to tune for
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Storage type of activations and weights on the device
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,

    /// Time limit in seconds; results until then are kept
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,

    /// Delete the saved results of this device
    #[arg(long)]
    forget: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Kernel arguments.
#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// Tune the kernels of each layer before the first file; `off` uses the results of `tagwave tune` for the device, if
    /// any. Another kernel may change the last bits of a score
    #[arg(long, value_enum, default_value_t)]
    tune: TuneArg,

    /// A user kernel for an op; check it with `tagwave lab`
    #[arg(long, value_name = "OP=FILE.wgsl")]
    kernel: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TuneArg {
    /// No tuning
    #[default]
    Off,
    /// The first configuration of each kernel, up to 5 seconds
    Quick,
    /// All configurations of each kernel, up to 60 seconds
    Full,
}

/// Tunes the kernels of a device and saves the results.
pub(super) fn tune(args: &TuneArgs) -> Result<u8, CliError> {
    let Target::Gpu(gpu) = Target::new(&args.device.device)? else {
        let message = "the CPU executor has no kernels to tune: choose a GPU with --device".into();
        return Err(CliError { message, code: USAGE });
    };
    if args.forget {
        if let Some(file) = file(&gpu).filter(|file| file.exists()) {
            std::fs::remove_file(&file).map_err(|error| write_error(&file, &error))?;
        }
        return Ok(0);
    }
    let models = if args.model.is_empty() {
        models::all()
    } else {
        args.model.iter().map(|name| models::find(name)).collect::<Result<_, _>>().map_err(Error::from)?
    };
    let Some(file) = file(&gpu) else {
        return Err(CliError {
            message: "no per-user cache folder for the results: set HOME".into(),
            code: SOME_FAILED,
        });
    };
    // Fails before measuring if the file cannot be written.
    let before = cached_tuning(&gpu);
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| write_file(&file, before.to_string().as_bytes()))
        .map_err(|error| write_error(&file, &error))?;
    print_line(&format!("device {}", gpu.summary().name))?;
    let precision = args.precision.resolve(Some(&gpu), CompatArg::Corrected);
    let seconds = Duration::from_secs(args.seconds.into());
    let mut unsaved = Ok(());
    // Saved after each layer, so that an interruption keeps the results.
    let mut save = |found: &TuningTable| {
        unsaved = write_file(&file, found.clone().or(before.clone()).to_string().as_bytes())
    };
    let found = search(&gpu, &models, precision, args.batch.into(), Effort::Full, seconds, true, &mut save)?;
    unsaved.map_err(|error| write_error(&file, &error))?;
    let count = found.len();
    print_line(&format!("saved {count} layers in {}", file.display()))?;
    Ok(0)
}

fn write_error(file: &std::path::Path, error: &std::io::Error) -> CliError {
    let message = format!("cannot save the results ({error}): is {} writable?", file.display());
    CliError { message, code: SOME_FAILED }
}

#[expect(clippy::too_many_arguments, reason = "one call with all settings of a search")]
fn search(
    gpu: &Context,
    models: &[Model],
    precision: DType,
    batch: usize,
    effort: Effort,
    budget: Duration,
    loud: bool,
    save: &mut dyn FnMut(&TuningTable),
) -> Result<TuningTable, CliError> {
    let layers = layers(models, precision)?;
    let tuning = tune_layers(gpu, &layers, batch, effort, budget, |layer, tuned, all| {
        save(all);
        let tuned = match tuned {
            Ok(tuned) => tuned,
            Err(error) => return say!("tagwave: {:16} not tuned: {error}", layer.name),
        };
        let gain = tuned.default.median.as_secs_f64() / tuned.best.median.as_secs_f64();
        let line = format!(
            "{:16} {} ({:.3} ms, {gain:.2} times the default, {} tried)",
            layer.name,
            tuned.best.config,
            1e3 * tuned.best.median.as_secs_f64(),
            tuned.tried
        );
        if loud {
            say!("tagwave: {line}");
        }
    })?;
    Ok(tuning)
}

/// File of the saved results of a device; its name has device, driver and version.
fn file(gpu: &Context) -> Option<PathBuf> {
    let adapter = gpu.summary();
    let name = format!("{} {} {}", adapter.name, adapter.driver, env!("CARGO_PKG_VERSION"));
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    Some(cache_dir()?.join("tune").join(format!("{name}.txt")))
}

/// Saved results of `tagwave tune` for a device; empty if there are none.
pub(super) fn cached_tuning(gpu: &Context) -> TuningTable {
    let text = file(gpu).and_then(|file| std::fs::read_to_string(file).ok());
    text.map_or_else(TuningTable::none, |text| TuningTable::parse(&text))
}

/// Devices, precision and kernels of a run.
pub(super) struct ResolvedKernels {
    /// Devices to run on.
    pub(super) devices: Vec<Device>,
    pub(super) precision: DType,
    /// Results of tuning before the run.
    tuned: Option<TuningTable>,
    custom: Vec<Arc<UserKernel>>,
}

impl ResolvedKernels {
    /// Function that selects the kernels of a device.
    pub(super) fn kernels(&self) -> impl Fn(&Context) -> Kernels + Send + Sync + 'static {
        let (tuned, custom) = (self.tuned.clone(), self.custom.clone());
        move |gpu| Kernels {
            tuning: tuned.clone().unwrap_or_else(|| cached_tuning(gpu)),
            user_kernels: custom.clone(),
        }
    }
}

impl KernelArgs {
    /// Resolves devices, precision and kernels, and tunes if requested.
    pub(super) fn choose(
        &self,
        devices: &[Device],
        model: &ModelArgs,
        batch: usize,
        quiet: bool,
    ) -> Result<ResolvedKernels, CliError> {
        let custom = self
            .kernel
            .iter()
            .map(|word| load_user_kernel(word).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let asked = !custom.is_empty() || self.tune != TuneArg::Off;
        let auto_precision = matches!(model.precision, PrecisionArg::Auto);
        let unchanged = |precision: DType| ResolvedKernels {
            devices: devices.to_vec(),
            precision,
            tuned: None,
            custom: Vec::new(),
        };
        if !asked && !auto_precision {
            return Ok(unchanged(model.precision.resolve(None, model.compat)));
        }
        let selection = match devices {
            [Device::Auto | Device::Gpu] => Selection::Best,
            [Device::Adapter(selection)] => selection.clone(),
            // Several devices use a precision that all of them support.
            _ if !asked => return Ok(unchanged(DType::F32)),
            [_] => {
                let message = "--kernel and --tune need a GPU: choose one with --device".into();
                return Err(CliError { message, code: USAGE });
            }
            _ => {
                let message = "--kernel and --tune support a single GPU: choose one with --device".into();
                return Err(CliError { message, code: USAGE });
            }
        };
        let gpu = match Context::request(&selection) {
            Ok(gpu) => with_pipeline_cache(gpu),
            // The tagger reports the error, or uses the CPU.
            Err(_) if !asked => return Ok(unchanged(DType::F32)),
            Err(error) => return Err(Error::from(error).into()),
        };
        // `auto` prefers the CPU to a software driver, unless kernels were requested.
        if devices == [Device::Auto] && gpu.summary().limits.software && !asked {
            return Ok(unchanged(DType::F32));
        }
        let precision = model.precision.resolve(Some(&gpu), model.compat);
        if !custom.is_empty() {
            let layers = layers(&[model.find()?], precision)?;
            let is_idle = |custom: &&Arc<UserKernel>| {
                !layers.iter().any(|layer| layer.is_run_by(custom, &gpu.summary().limits))
            };
            if let Some(idle) = custom.iter().find(is_idle) {
                let message = format!(
                    "{}: {} runs no layer of {} on this device",
                    idle.name, idle.contract, model.model
                );
                return Err(CliError { message, code: USAGE });
            }
        }
        let effort = match self.tune {
            TuneArg::Off => None,
            TuneArg::Quick => Some((Effort::Quick, 5)),
            TuneArg::Full => Some((Effort::Full, 60)),
        };
        let search = |(effort, seconds)| {
            let model = model.find()?;
            search(
                &gpu,
                &[model],
                precision,
                batch,
                effort,
                Duration::from_secs(seconds),
                !quiet,
                &mut |_| {},
            )
        };
        let tuned = effort.map(search).transpose()?;
        Ok(ResolvedKernels { devices: vec![Device::Adapter(selection)], precision, tuned, custom })
    }

    /// Settings that rows depend on, for the journal.
    pub(super) fn settings(&self) -> String {
        if self.kernel.is_empty() { String::new() } else { format!(" kernels={}", self.kernel.join(",")) }
    }
}

/// Loads the user kernel of `OP=FILE`.
fn load_user_kernel(word: &str) -> Result<UserKernel, CliError> {
    let usage = |message: String| CliError { message, code: USAGE };
    let (op, file) = word
        .split_once('=')
        .ok_or_else(|| usage(format!("--kernel {word}: expected OP=FILE.wgsl, such as conv2d=my.wgsl")))?;
    let custom = lab::load(file.as_ref())?;
    let (found, kernel) =
        tagwave::lab::contract(&custom.contract).ok_or_else(|| usage(lab::unknown(&custom.contract)))?;
    if found != op {
        return Err(usage(format!("{file}: kernel of op {found} ({}), expected {op}", custom.contract)));
    }
    custom.check_bindings(kernel.source).map_err(|error| usage(error.to_string()))?;
    Ok(custom)
}
