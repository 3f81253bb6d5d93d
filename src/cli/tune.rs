//! `tagwave tune`, and what other commands take from it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::target::Target;
use super::{
    DeviceArgs, Failed, ModelArgs, PrecisionArg, ReadingArg, SOME_FAILED, USAGE, cache_dir, lab, say,
    with_pipeline_cache,
};
use crate::error::Error;
use crate::gpu::{Gpu, Selection};
use crate::kernels::{Kernels, TuningTable, UserKernel};
use crate::lab::{Effort, layers, tune as tune_layers};
use crate::models::{self, Model};
use crate::sinks::NewFile;
use crate::tagger::Device;
use crate::tensor::DType;

/// Arguments of `tagwave tune`.
#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    /// Models, all by default
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,

    /// Clips of a batch to tune for
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// How the device stores activations and weights
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,

    /// Seconds to look for; what was found until then is kept
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,

    /// Forget what was found for this device
    #[arg(long)]
    forget: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

/// How kernels are chosen.
#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// Try the kernels of each layer before the first file; `off` takes what `tagwave tune` has remembered for the
    /// device, else each op's default. Another kernel may change the last bits of a score
    #[arg(long, value_enum, default_value_t)]
    tune: TuneArg,

    /// A kernel of your own for an op, as `tagwave lab` checks it
    #[arg(long, value_name = "OP=FILE.wgsl")]
    kernel: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TuneArg {
    /// Nothing is tried
    #[default]
    Off,
    /// The first tile of each kernel, up to five seconds
    Quick,
    /// Every tile of each kernel, up to a minute
    Full,
}

/// Tunes and remembers.
pub(super) fn tune(args: &TuneArgs) -> Result<u8, Failed> {
    let Target::Gpu(gpu) = Target::new(&args.device.device)? else {
        let message = "the CPU has one kernel for each layer: name an adapter with --device".into();
        return Err(Failed { message, code: USAGE });
    };
    if args.forget {
        if let Some(file) = file(&gpu).filter(|file| file.exists()) {
            std::fs::remove_file(&file).map_err(|error| unwritten(&file, &error))?;
        }
        return Ok(0);
    }
    let models = match args.model.is_empty() {
        true => models::all(),
        false => {
            args.model.iter().map(|name| models::find(name)).collect::<Result<_, _>>().map_err(Error::from)?
        }
    };
    let Some(file) = file(&gpu) else {
        return Err(Failed { message: "no per-user folder to remember this in".into(), code: SOME_FAILED });
    };
    // Before anything is measured for nothing.
    let before = remembered(&gpu);
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| write(&file, &before.to_string())).map_err(|error| unwritten(&file, &error))?;
    say(&format!("device {}", gpu.summary().name))?;
    let precision = args.precision.resolve(Some(&gpu), ReadingArg::Restored);
    let seconds = Duration::from_secs(args.seconds.into());
    let mut unsaved = Ok(());
    // After each layer, so that an interruption keeps what was found.
    let mut save =
        |found: &TuningTable| unsaved = write(&file, &found.clone().or(before.clone()).to_string());
    let found = search(&gpu, &models, precision, args.batch.into(), Effort::Full, seconds, true, &mut save)?;
    unsaved.map_err(|error| unwritten(&file, &error))?;
    let count = found.len();
    say(&format!("remembered {count} layers in {}", file.display()))?;
    Ok(0)
}

/// Appears whole, so that another process never reads half of it.
fn write(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    let new = NewFile::create(file)?;
    new.writer()?.write_all(text.as_bytes())?;
    new.finish()
}

fn unwritten(file: &std::path::Path, error: &std::io::Error) -> Failed {
    let message = format!("cannot remember what is found ({error}): is {} writable?", file.display());
    Failed { message, code: SOME_FAILED }
}

#[expect(clippy::too_many_arguments, reason = "what a search is, once")]
fn search(
    gpu: &Gpu,
    models: &[Model],
    precision: DType,
    batch: usize,
    effort: Effort,
    budget: Duration,
    loud: bool,
    save: &mut dyn FnMut(&TuningTable),
) -> Result<TuningTable, Failed> {
    let layers = layers(models, precision)?;
    let tuning = tune_layers(gpu, &layers, batch, effort, budget, |layer, tuned, all| {
        save(all);
        let tuned = match tuned {
            Ok(tuned) => tuned,
            Err(error) => return eprintln!("tagwave: {:16} not tuned: {error}", layer.name),
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
            eprintln!("tagwave: {line}");
        }
    })?;
    Ok(tuning)
}

/// Where the winners of a device are remembered: its name, driver and this version are the file's name.
fn file(gpu: &Gpu) -> Option<PathBuf> {
    let adapter = gpu.summary();
    let name = format!("{} {} {}", adapter.name, adapter.driver, env!("CARGO_PKG_VERSION"));
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    Some(cache_dir()?.join("tune").join(format!("{name}.txt")))
}

/// What `tagwave tune` has found for a device; nothing when it has not run or the file is damaged.
pub(super) fn remembered(gpu: &Gpu) -> TuningTable {
    let text = file(gpu).and_then(|file| std::fs::read_to_string(file).ok());
    text.map_or_else(TuningTable::none, |text| TuningTable::parse(&text))
}

/// What a run goes by.
pub(super) struct Chosen {
    /// Where it runs.
    pub(super) devices: Vec<Device>,
    pub(super) precision: DType,
    /// What was found for the one device that was tuned before the run.
    tuned: Option<TuningTable>,
    custom: Vec<Arc<UserKernel>>,
}

impl Chosen {
    /// The kernels of a device.
    pub(super) fn kernels(&self) -> impl Fn(&Gpu) -> Kernels + Send + Sync + 'static {
        let (tuned, custom) = (self.tuned.clone(), self.custom.clone());
        move |gpu| Kernels {
            tuning: tuned.clone().unwrap_or_else(|| remembered(gpu)),
            user_kernels: custom.clone(),
        }
    }
}

impl KernelArgs {
    /// Chooses the kernels, and tunes them where that is asked for.
    pub(super) fn choose(
        &self,
        devices: &[Device],
        model: &ModelArgs,
        batch: usize,
        quiet: bool,
    ) -> Result<Chosen, Failed> {
        let custom = self.kernel.iter().map(|word| own(word).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let asked = !custom.is_empty() || self.tune != TuneArg::Off;
        let auto_precision = matches!(model.precision, PrecisionArg::Auto);
        let as_they_are = |precision: DType| Chosen {
            devices: devices.to_vec(),
            precision,
            tuned: None,
            custom: Vec::new(),
        };
        if !asked && !auto_precision {
            return Ok(as_they_are(model.precision.resolve(None, model.reading)));
        }
        let selection = match devices {
            [Device::Auto | Device::Gpu] => Selection::Best,
            [Device::Adapter(selection)] => selection.clone(),
            // Several devices store what all of them can.
            _ if !asked => return Ok(as_they_are(DType::F32)),
            [_] => {
                let message = "--kernel and --tune need an adapter: name one with --device".into();
                return Err(Failed { message, code: USAGE });
            }
            _ => {
                let message = "--kernel and --tune take one adapter: name one with --device".into();
                return Err(Failed { message, code: USAGE });
            }
        };
        let gpu = match Gpu::request(&selection) {
            Ok(gpu) => with_pipeline_cache(gpu),
            // The tagger says why, or takes the CPU.
            Err(_) if !asked => return Ok(as_they_are(DType::F32)),
            Err(error) => return Err(Error::from(error).into()),
        };
        // `auto` prefers the CPU to a software driver, unless kernels are asked for.
        if devices == [Device::Auto] && gpu.summary().limits.software && !asked {
            return Ok(as_they_are(DType::F32));
        }
        let precision = model.precision.resolve(Some(&gpu), model.reading);
        if !custom.is_empty() {
            let layers = layers(&[models::find(&model.model).map_err(Error::from)?], precision)?;
            let is_idle = |custom: &&Arc<UserKernel>| {
                !layers.iter().any(|layer| layer.is_run_by(custom, &gpu.summary().limits))
            };
            if let Some(idle) = custom.iter().find(is_idle) {
                let message =
                    format!("{}: {} runs no layer of {} here", idle.name, idle.contract, model.model);
                return Err(Failed { message, code: USAGE });
            }
        }
        let effort = match self.tune {
            TuneArg::Off => None,
            TuneArg::Quick => Some((Effort::Quick, 5)),
            TuneArg::Full => Some((Effort::Full, 60)),
        };
        let search = |(effort, seconds)| {
            let model = models::find(&model.model).map_err(Error::from)?;
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
        Ok(Chosen { devices: vec![Device::Adapter(selection)], precision, tuned, custom })
    }

    /// What of this a row depends on.
    pub(super) fn settings(&self) -> String {
        match self.kernel.is_empty() {
            true => String::new(),
            false => format!(" kernels={}", self.kernel.join(",")),
        }
    }
}

/// The kernel of `OP=FILE`.
fn own(word: &str) -> Result<UserKernel, Failed> {
    let usage = |message: String| Failed { message, code: USAGE };
    let (op, file) = word
        .split_once('=')
        .ok_or_else(|| usage(format!("--kernel {word}: expected OP=FILE.wgsl, such as conv2d=my.wgsl")))?;
    let custom = lab::load(file.as_ref())?;
    let (found, kernel) =
        lab::contract(&custom.contract).ok_or_else(|| usage(lab::unknown(&custom.contract)))?;
    if found != op {
        return Err(usage(format!("{file}: a kernel of {found} ({}), not of {op}", custom.contract)));
    }
    custom.check_bindings(kernel.source).map_err(|error| usage(error.to_string()))?;
    Ok(custom)
}
