//! `tagwave weights`: getting, keeping and checking weight files.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::recognise::{origin, recognise, verdict};
use super::{Failed, INTERRUPTED, SOME_FAILED, USAGE, data_dir, say, stop_on_interrupt};
use crate::error::Error;
use crate::models::{self, Model};
use crate::tagger::CancelToken;
use crate::tensor::DType;
use crate::weights::{self, DigestCheck, FetchOptions, Fetched, Locator, Manifest, Variant, WeightsError};

/// Arguments of `tagwave weights`.
#[derive(Debug, Args)]
pub(super) struct WeightsCommandArgs {
    #[command(subcommand)]
    command: WeightsCommand,
}

#[derive(Debug, Subcommand)]
enum WeightsCommand {
    /// Download the published weights of a model, checked against their digest
    Fetch(FetchArgs),
    /// Read a published or own weight file and keep it as MODEL.safetensors in the store
    Import(ImportArgs),
    /// List the weight files in the store
    List(StoreArgs),
    /// Check weight files: digest, names, shapes, finite numbers
    Verify(VerifyArgs),
    /// Write weights as a safetensors file
    Export(ExportArgs),
    /// Print the store's folder
    Path(StoreArgs),
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// Folder that holds weight files [default: the per-user data folder, where `tag` and `embed` look too]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl StoreArgs {
    fn folder(&self) -> Result<PathBuf, Failed> {
        let missing = || Failed {
            message: "this user has no data folder (HOME is not set): give one with --store DIR".into(),
            code: USAGE,
        };
        self.store.clone().or_else(data_dir).ok_or_else(missing)
    }
}

#[derive(Debug, Args)]
struct FetchArgs {
    /// Models to fetch the weights of; `tagwave models` lists them
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,

    /// Which of the published files [default: the one that the manifest names first]
    #[arg(long, value_enum)]
    variant: Option<VariantArg>,

    /// Never touch the network: check what is there, or say what to download by other means
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// Weight file: what Keras 1 saved (.h5, .hdf5), or a safetensors file of tagwave
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Model the file is for [default: the one whose arrays it has]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Files, or models whose files in the store are meant [default: everything in the store]
    #[arg(value_name = "FILE|MODEL")]
    targets: Vec<PathBuf>,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Weight file, or the model whose weights in the store are meant
    #[arg(value_name = "MODEL|FILE")]
    source: PathBuf,

    /// File to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// How numbers are stored: f32 keeps every bit, f16 halves the file
    #[arg(long, value_enum, default_value_t)]
    precision: StoredAs,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VariantArg {
    /// Saved with the Theano backend
    Theano,
    /// Saved with the TensorFlow backend
    Tensorflow,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum StoredAs {
    #[default]
    F32,
    F16,
}

/// Runs one of the commands.
pub(super) fn weights(args: &WeightsCommandArgs) -> Result<u8, Failed> {
    match &args.command {
        WeightsCommand::Fetch(args) => fetch(args),
        WeightsCommand::Import(args) => import(args),
        WeightsCommand::List(args) => list(args),
        WeightsCommand::Verify(args) => verify(args),
        WeightsCommand::Export(args) => export(args),
        WeightsCommand::Path(args) => {
            say(&args.folder()?.display().to_string())?;
            Ok(0)
        }
    }
}

/// What is missing is a matter of usage; a file or a download that fails is one that failed.
pub(super) fn failed(error: WeightsError) -> Failed {
    let code = match &error {
        WeightsError::NotFound { .. } | WeightsError::Offline { .. } => USAGE,
        WeightsError::Io { action: "read", source, .. } if source.kind() == io::ErrorKind::NotFound => USAGE,
        WeightsError::Cancelled => INTERRUPTED,
        _ => SOME_FAILED,
    };
    Failed { message: error.to_string(), code }
}

fn find(name: &str) -> Result<(Model, Manifest), Failed> {
    let model = models::find(name).map_err(Error::from)?;
    let manifest = model.manifest().map_err(Error::from)?;
    Ok((model, manifest))
}

pub(super) fn all() -> Result<Vec<(Model, Manifest)>, Failed> {
    let pairs = models::all().into_iter().map(|model| Ok((model.manifest()?, model)));
    let pairs: Result<Vec<_>, models::ModelError> = pairs.collect();
    Ok(pairs.map_err(Error::from)?.into_iter().map(|(manifest, model)| (model, manifest)).collect())
}

/// Whether a word means a model rather than a file.
fn names_model(word: &Path) -> Option<&str> {
    word.to_str().filter(|word| models::all().iter().any(|model| model.name == *word))
}

/// Where a file that `tag` takes with no flags would be, if only `store` were searched.
fn preferred(store: &Path, manifest: &Manifest) -> Result<PathBuf, WeightsError> {
    Locator { search: vec![store.to_path_buf()], ..Locator::default() }.locate(manifest)
}

fn fetch(args: &FetchArgs) -> Result<u8, Failed> {
    let store = args.store.folder()?;
    let variant = args.variant.map(|variant| match variant {
        VariantArg::Theano => Variant::Theano,
        VariantArg::Tensorflow => Variant::TensorFlow,
    });
    // A misspelt name is said before anything is downloaded.
    let models = args.models.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let cancel = CancelToken::new();
    stop_on_interrupt(cancel.clone());
    for (model, manifest) in models {
        if model.is_embedded() {
            say(&format!("{}  part of the program: nothing to fetch", model.name))?;
            continue;
        }
        let Some(entry) = manifest.file(variant) else {
            let message = format!("{}: no such variant is published", model.name);
            return Err(Failed { message, code: USAGE });
        };
        let bar = download_bar(&entry.name, entry.size);
        let options = FetchOptions { offline: args.offline, ..FetchOptions::default() };
        let mut progress = |at: weights::Progress| bar.set_position(at.received);
        let fetched = weights::fetch(entry, &store, &options, &mut progress, &|| cancel.is_cancelled());
        bar.finish_and_clear();
        let fetched = fetched.map_err(failed)?;
        let how = match &fetched {
            Fetched::AlreadyThere(_) => "already there, digest as published",
            Fetched::Downloaded(_) => "downloaded, digest as published",
        };
        say(&format!("{}  {}  ({how})", model.name, fetched.path().display()))?;
        note_preferred(&store, &manifest, fetched.path());
    }
    Ok(0)
}

/// Says so when `tag` would take another file of the store than the one just put there.
fn note_preferred(store: &Path, manifest: &Manifest, path: &Path) {
    if let Ok(taken) = preferred(store, manifest)
        && taken != path
    {
        eprintln!("tagwave: {} is preferred to it: use --weights {}", taken.display(), path.display());
    }
}

/// A bar with bytes, rate and time left; on a terminal only.
fn download_bar(name: &str, size: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    let template = "{msg}  {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(name.to_string())
}

fn import(args: &ImportArgs) -> Result<u8, Failed> {
    let store = args.store.folder()?;
    let (model, manifest) = match &args.model {
        Some(name) => find(name)?,
        None => {
            let found = recognise(&args.file)?;
            (found.model, found.manifest)
        }
    };
    let report =
        weights::import(&args.file, &model.architecture.tensors(), &manifest, &store).map_err(failed)?;
    if let DigestCheck::Mismatch { file, expected, found } = &report.source.digest {
        eprintln!("tagwave: this is not the published {file}: expected sha256 {expected}, found {found}");
    }
    say(&format!("{}  {}", model.name, report.path.display()))?;
    say(&format!("   from     {} ({})", args.file.display(), origin(&report.source, &manifest)))?;
    say(&format!("   arrays   {}, {} numbers, {} bytes", report.tensors, report.parameters, report.size))?;
    if !report.absent.is_empty() {
        say(&format!("   without  {}", report.absent.join(", ")))?;
    }
    Ok(0)
}

fn list(args: &StoreArgs) -> Result<u8, Failed> {
    let store = args.folder()?;
    let models = all()?;
    let entries = weights::list(&store, models.iter().map(|(_, manifest)| manifest));
    if entries.is_empty() {
        eprintln!("tagwave: no weights in {}: get some with `tagwave weights fetch crnn`", store.display());
    }
    for entry in entries {
        let manifest = models.iter().map(|(_, manifest)| manifest).find(|m| m.model == entry.model);
        let first = manifest.and_then(|manifest| preferred(&store, manifest).ok());
        let mark = if first.as_ref() == Some(&entry.path) { "  <- used" } else { "" };
        let variant = entry.variant.map_or(String::new(), |variant| format!(", {variant}"));
        let (path, format, size) = (entry.path.display(), entry.format, entry.size);
        say(&format!("{:8} {path}  ({format}{variant}, {size} bytes){mark}", entry.model))?;
    }
    Ok(0)
}

fn verify(args: &VerifyArgs) -> Result<u8, Failed> {
    let store = args.store.folder()?;
    let manifests: Vec<Manifest> = all()?.into_iter().map(|(_, manifest)| manifest).collect();
    let in_store = |model: Option<&str>| {
        let wanted = manifests.iter().filter(move |manifest| model.is_none_or(|name| manifest.model == name));
        weights::list(&store, wanted).into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    let mut files = Vec::new();
    if args.targets.is_empty() {
        files = in_store(None);
        if files.is_empty() {
            let message = format!("no weights in {}", store.display());
            return Err(Failed { message, code: USAGE });
        }
    }
    for target in &args.targets {
        match names_model(target) {
            Some(name) => match in_store(Some(name)) {
                none if none.is_empty() => return Err(failed(not_found(name, &store)?)),
                found => files.extend(found),
            },
            None => files.push(target.clone()),
        }
    }
    let mut code = 0;
    for file in files {
        let verdict = recognise(&file).and_then(|found| verdict(&found));
        match verdict {
            Ok(line) => say(&format!("ok       {}: {line}", file.display()))?,
            Err(bad) => {
                say(&format!("BAD      {}", bad.message))?;
                code = code.max(bad.code);
            }
        }
    }
    Ok(code)
}

/// The error of a model that has no file in the store.
fn not_found(name: &str, store: &Path) -> Result<WeightsError, Failed> {
    let (_, manifest) = find(name)?;
    let found = preferred(store, &manifest).map(|path| path.display().to_string());
    Ok(found.err().unwrap_or(WeightsError::Cancelled))
}

fn export(args: &ExportArgs) -> Result<u8, Failed> {
    let (path, model, manifest) = match names_model(&args.source) {
        Some(name) => {
            let (model, manifest) = find(name)?;
            (preferred(&args.store.folder()?, &manifest).map_err(failed)?, model, manifest)
        }
        None => {
            let found = recognise(&args.source)?;
            (args.source.clone(), found.model, found.manifest)
        }
    };
    let loaded = weights::load(&path, &model.architecture.tensors(), &manifest).map_err(failed)?;
    if let DigestCheck::Mismatch { file, expected, found } = &loaded.info().digest {
        eprintln!("tagwave: this is not the published {file}: expected sha256 {expected}, found {found}");
    }
    let dtype = match args.precision {
        StoredAs::F32 => DType::F32,
        StoredAs::F16 => DType::F16,
    };
    let size = weights::export(&loaded, &args.output, dtype).map_err(failed)?;
    say(&format!("{}  {}  ({size} bytes, from {})", model.name, args.output.display(), path.display()))?;
    Ok(0)
}
