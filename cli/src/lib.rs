//! Command line: parses arguments, calls the library, writes rows and returns an exit code.
//!
//! One file per command. Only this module and `main` read arguments and the environment, print, or exit.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use tagwave::CancelToken;
use tagwave::error::Error;
use tagwave::gpu::Context;
use tagwave::models::{self as zoo, Compat};
use tagwave::tagger::{DECODER_THREAD, Device, TaggerBuilder};
use tagwave::tags::Vocabulary;
use tagwave::tensor::DType;
use tagwave::weights::Locator;

/// Prints a line on standard error. Unlike `eprintln!` it does not panic if nobody reads it.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($argument)*);
    }};
}

mod address;
mod bench;
mod calibrate;
mod clips;
mod compiled;
mod devices;
mod embed;
mod entry;
mod error;
mod eval;
mod generated;
mod identify;
mod inputs;
mod job;
mod lab;
mod labels;
mod learn;
mod library;
mod list;
mod listen;
mod merge;
mod models;
mod output;
mod pca;
mod progress;
mod report;
mod reproduce;
mod results;
mod selftest;
#[cfg(feature = "serve")]
mod serve;
mod tag;
mod target;
mod terminal;
mod tune;
mod walk;
mod weights;
mod wildcards;
mod write;

use error::CliError;

/// Number of entries of a list, for the fuzz target.
#[cfg(fuzzing)]
pub fn paths_of_list(list: &std::path::Path) -> usize {
    list::paths_of_list(list).map_or(0, Iterator::count)
}

/// Reads a journal of `tagwave write` and puts the earlier contents of its files together, for the fuzz target.
#[cfg(fuzzing)]
pub fn earlier_contents(journal: &std::path::Path, new: &[u8]) {
    write::earlier_contents(journal, new);
}

/// Exit code: some files failed.
const SOME_FAILED: u8 = 1;
/// Exit code: usage error or missing weights.
const USAGE: u8 = 2;
/// Exit code: no usable device.
const NO_DEVICE: u8 = 3;
/// Exit code: interrupted by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Music auto-tagging on GPU or CPU
///
/// Scores 50 Last.fm tags (genres, moods, eras, instruments) for 29 seconds of each track, or extracts the features
/// behind them. Results go to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "tagwave", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all fine, 1 some files failed, 2 usage or missing weights, 3 no usable device, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Tag audio files
    Tag(tag::TagArgs),
    /// Extract features (embeddings)
    Embed(embed::EmbedArgs),
    /// Tag live audio from standard input, every second
    Listen(listen::ListenArgs),
    /// Compare predictions with labels: metrics, intervals, thresholds, calibration
    Eval(eval::EvalArgs),
    /// Learn tags of your own from labelled tracks; makes a model file
    Learn(learn::LearnArgs),
    /// Write genre and mood into songs, where players read them; shows the changes first, and can undo them
    Write(write::WriteArgs),
    /// Keep an index of a music library: embeddings and scores of its tracks
    Index(library::index::IndexCommandArgs),
    /// List the tracks of the index that sound like a song
    Similar(library::similar::SimilarArgs),
    /// List the tracks that the index holds more than once
    Duplicates(library::duplicates::DuplicatesArgs),
    /// Make a playlist of the index: by a condition on tags, or from one song to another
    Playlist(library::playlist::PlaylistArgs),
    /// Make a page of a music library: counts, map, table, player
    Report(report::PageArgs),
    /// Tag songs for other programs, over HTTP
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Join the results of several runs, shards or parts
    Merge(merge::MergeArgs),
    /// Tag groups of files as the original compact_cnn does, whose scores depend on the batch
    Reproduce(reproduce::ReproduceArgs),
    /// List the devices tagwave can run on
    Devices,
    /// List the models and their weights
    Models(models::ModelsArgs),
    /// Fetch, import, list, verify and export weights
    Weights(weights::WeightsCommandArgs),
    /// Measure the frozen batch statistics of compact_cnn over a folder of music
    Calibrate(calibrate::CalibrateArgs),
    /// Measure the speed of the models on a device
    Bench(bench::BenchArgs),
    /// Check and time a user kernel
    Lab(lab::LabArgs),
    /// Find the fastest kernels for a device and save them
    Tune(tune::TuneArgs),
    /// Check every kernel and model on a device
    Selftest(selftest::SelftestArgs),
    /// Print completions for a shell
    Completions(generated::CompletionsArgs),
    /// Write man pages
    Man(generated::ManArgs),
}

/// Arguments that select model, weights, device and kernels.
#[derive(Debug, Args)]
struct ModelArgs {
    /// Model to run: a name from `tagwave models`, or a model file (.safetensors, .h5)
    #[arg(long, value_name = "NAME|FILE", default_value = zoo::DEFAULT, env = "TAGWAVE_MODEL")]
    model: String,

    /// Labels of the scores, one per line, for weights that were trained with others than the model's
    #[arg(long, value_name = "FILE")]
    label_list: Option<PathBuf>,

    /// Compatibility with the original project: corrected, or with its mistakes
    #[arg(long, value_enum, default_value_t)]
    compat: CompatArg,

    /// Storage type of activations and weights on the device; sums are always f32
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,

    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DevicesArgs,

    #[command(flatten)]
    kernels: tune::KernelArgs,
}

impl ModelArgs {
    /// The list of `--label-list`.
    fn vocabulary(&self) -> Result<Option<Vocabulary>, CliError> {
        let Some(path) = &self.label_list else { return Ok(None) };
        let named = |error: String| CliError::usage(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Vocabulary::parse(&text).map(Some).map_err(|error| named(error.to_string()))
    }

    /// The model, without its weights.
    fn find(&self) -> Result<zoo::Model, CliError> {
        let model = match zoo::path_of(&self.model) {
            Some(path) => {
                zoo::open(path, self.vocabulary()?.as_ref(), &self.weights.locator()).map(|(model, _)| model)
            }
            None => zoo::find(&self.model),
        };
        model.map_err(|error| Error::from(error).into())
    }

    /// Sets model, labels and weights.
    fn apply(&self, builder: TaggerBuilder) -> Result<TaggerBuilder, CliError> {
        let builder = match zoo::path_of(&self.model) {
            Some(path) => builder.model_file(path),
            None => builder.model(&self.model),
        };
        let builder = self.vocabulary()?.into_iter().fold(builder, TaggerBuilder::labels);
        Ok(builder.locator(self.weights.locator()))
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PrecisionArg {
    /// 32-bit floats
    #[default]
    F32,
    /// 16-bit floats, if the device supports them; not possible with --compat original, whose activations overflow
    F16,
    /// f16 if the device supports it and scores stay within 0.005 of the exact ones, else f32
    Auto,
}

impl PrecisionArg {
    /// Storage type of a model on a device (`None`: the CPU, which computes in f32).
    fn resolve(self, gpu: Option<&Context>, compat: CompatArg) -> DType {
        let f16 = gpu.is_some_and(|gpu| gpu.summary().limits.f16);
        match self {
            PrecisionArg::F16 => DType::F16,
            PrecisionArg::Auto if f16 && Compat::from(compat).fits_f16() => DType::F16,
            _ => DType::F32,
        }
    }
}

#[derive(Debug, Args)]
struct WeightsArgs {
    /// Weight file, or a folder that contains it [default: $TAGWAVE_WEIGHTS, then the per-user data folder; the default
    /// model is built in]
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
}

impl WeightsArgs {
    /// Search path for weights.
    fn locator(&self) -> Locator {
        locator(self.weights.clone())
    }
}

/// Search path for weights: a file or folder of the caller, `TAGWAVE_WEIGHTS`, the per-user data folder.
pub fn locator(weights: Option<PathBuf>) -> Locator {
    let environment =
        std::env::var_os("TAGWAVE_WEIGHTS").filter(|value| !value.is_empty()).map(PathBuf::from);
    // A file named by the variable is used directly; a folder is searched before the user's data folder.
    let (file, folder) = match environment {
        Some(path) if path.is_dir() => (None, Some(path)),
        path => (path, None),
    };
    Locator {
        explicit: weights.or(file),
        search: folder.into_iter().chain(data_dir()).collect(),
        variant: None,
    }
}

pub use job::prediction;

/// Sets the per-user folders for compiled pipelines and for what is known of devices.
pub fn with_caches(builder: TaggerBuilder) -> TaggerBuilder {
    let builder = pipeline_cache_dir().into_iter().fold(builder, TaggerBuilder::pipeline_cache);
    cache_dir().into_iter().fold(builder, TaggerBuilder::known_devices)
}

/// Per-user folder for weights.
fn data_dir() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("tagwave").join("weights"))
}

/// Per-user cache folder.
fn cache_dir() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("tagwave"))
}

/// Per-user folder for state: journals and locks. Platforms without one use the folder for data.
fn state_dir() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("tagwave"))
}

/// Folder of compiled pipelines.
fn pipeline_cache_dir() -> Option<PathBuf> {
    Some(cache_dir()?.join("pipelines"))
}

/// Enables the cache of compiled pipelines for a device.
fn with_pipeline_cache(gpu: Context) -> Context {
    pipeline_cache_dir().iter().fold(gpu, |gpu, folder| gpu.with_pipeline_cache(folder))
}

#[derive(Debug, Args)]
struct DeviceArgs {
    /// Device: auto, gpu, cpu, reference, a number or a part of a name from `tagwave devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "TAGWAVE_DEVICE")]
    device: Device,
}

#[derive(Debug, Args)]
struct DevicesArgs {
    /// Device: auto, gpu, cpu, reference, a number or a part of a name from `tagwave devices`; several devices share the
    /// work: 0,1
    #[arg(
        long = "device",
        value_name = "DEVICE",
        default_value = "auto",
        env = "TAGWAVE_DEVICE",
        value_delimiter = ','
    )]
    devices: Vec<Device>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum CompatArg {
    /// As the networks were trained
    #[default]
    Corrected,
    /// As the original project ran them, including its mistakes: reproduces its published results
    Original,
}

impl From<CompatArg> for Compat {
    fn from(compat: CompatArg) -> Compat {
        match compat {
            CompatArg::Corrected => Compat::Corrected,
            CompatArg::Original => Compat::Original,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs a command line, which begins with the name of the program, and returns the exit code. It belongs to the process: it
/// handles Ctrl-C, prints, and may exit.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    silence_decoder_panics();
    let arguments: Vec<_> = if cfg!(windows) { wildcards::expand(arguments) } else { arguments.collect() };
    let cli = Cli::try_parse_from(&arguments).unwrap_or_else(|error| {
        if let Some(guide) = generated::guide(&error, &arguments) {
            eprint!("{guide}");
            std::process::exit(i32::from(USAGE));
        }
        error.exit()
    });
    let result = match cli.command {
        Command::Tag(args) => tag::tag(&args),
        Command::Embed(args) => embed::embed(&args),
        Command::Listen(args) => listen::listen(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Learn(args) => learn::learn(&args),
        Command::Write(args) => write::write(&args),
        Command::Index(args) => library::index::index(&args),
        Command::Similar(args) => library::similar::similar(&args),
        Command::Duplicates(args) => library::duplicates::duplicates(&args),
        Command::Playlist(args) => library::playlist::playlist(&args),
        Command::Report(args) => report::report(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::serve(&args),
        Command::Merge(args) => merge::merge(&args),
        Command::Reproduce(args) => reproduce::reproduce(&args),
        Command::Devices => devices::devices(),
        Command::Models(args) => models::models(&args),
        Command::Weights(args) => weights::weights(&args),
        Command::Calibrate(args) => calibrate::calibrate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Lab(args) => lab::lab(&args),
        Command::Tune(args) => tune::tune(&args),
        Command::Selftest(args) => selftest::selftest(&args),
        Command::Completions(args) => generated::completions(&args, Cli::command()),
        Command::Man(args) => generated::man(&args, Cli::command()),
    };
    match result {
        Ok(code) => code,
        Err(failed) => {
            say!("tagwave: {}", failed.message);
            failed.code
        }
    }
}

/// Silences panics of decoder threads: they become error rows.
fn silence_decoder_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(DECODER_THREAD) {
            usual(panic);
        }
    }));
}

/// Installs the Ctrl-C handler: the first stops after the batches in flight, the second exits at once.
fn stop_on_interrupt(cancel: CancelToken) {
    let handler = move || {
        if cancel.is_cancelled() {
            std::process::exit(i32::from(INTERRUPTED));
        }
        cancel.cancel();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        say!("tagwave: cannot install a Ctrl-C handler, Ctrl-C will exit at once: {error}");
    }
}

/// Handles an error of standard output: a broken pipe exits silently, as `head` expects.
fn write_failed(error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        _ => CliError { message: format!("cannot write the results: {error}"), code: SOME_FAILED },
    }
}

/// A number and its noun: "1 track", "2 tracks".
fn counted<N: std::fmt::Display + From<u8> + PartialEq>(count: N, noun: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Prints one line on standard output.
fn print_line(line: &str) -> Result<(), CliError> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| write_failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagwave::gpu::Selection;

    #[test]
    fn precision_auto_is_f16_only_where_it_fits() {
        let auto = |gpu: Option<&Context>, compat| PrecisionArg::Auto.resolve(gpu, compat);
        assert_eq!(auto(None, CompatArg::Corrected), DType::F32);
        let Ok(gpu) = Context::request(&Selection::Best) else { return };
        let best = if gpu.summary().limits.f16 { DType::F16 } else { DType::F32 };
        assert_eq!(auto(Some(&gpu), CompatArg::Corrected), best);
        assert_eq!(auto(Some(&gpu), CompatArg::Original), DType::F32);
    }
}
