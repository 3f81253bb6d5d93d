//! `tagwave weights`: fetches, imports, lists, verifies and exports weight files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::identify::{all, identify, origin, report_line};
use super::{CliError, USAGE, data_dir, print_line, stop_on_interrupt};
use tagwave::CancelToken;
use tagwave::error::Error;
use tagwave::models::{self, Model};
use tagwave::tensor::DType;
use tagwave::weights::{self, DigestCheck, FetchOptions, Fetched, Locator, Manifest, Variant, WeightsError};

/// Arguments of `tagwave weights`.
#[derive(Debug, Args)]
pub(super) struct WeightsCommandArgs {
    #[command(subcommand)]
    command: WeightsCommand,
}

#[derive(Debug, Subcommand)]
enum WeightsCommand {
    /// Download the published weights of a model and check their digest
    Fetch(FetchArgs),
    /// Convert a weight file to MODEL.safetensors in the store
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
    /// Folder of weight files [default: the per-user data folder, which `tag` and `embed` search too]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl StoreArgs {
    fn folder(&self) -> Result<PathBuf, CliError> {
        let missing = || CliError {
            message: "no per-user data folder (HOME is not set): use --store DIR".into(),
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

    /// Variant of the published files [default: the first one in the manifest]
    #[arg(long, value_enum)]
    variant: Option<VariantArg>,

    /// Do not use the network: check an existing file, or print the URL to download
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// Weight file: Keras 1 HDF5 (.h5, .hdf5), or safetensors
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Model of the file [default: detected from its arrays]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Files, or models in the store [default: all files in the store]
    #[arg(value_name = "FILE|MODEL")]
    targets: Vec<PathBuf>,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Weight file, or a model in the store
    #[arg(value_name = "MODEL|FILE")]
    source: PathBuf,

    /// Output file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Storage type: f32 is exact, f16 halves the file size
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
pub(super) fn weights(args: &WeightsCommandArgs) -> Result<u8, CliError> {
    match &args.command {
        WeightsCommand::Fetch(args) => fetch(args),
        WeightsCommand::Import(args) => import(args),
        WeightsCommand::List(args) => list(args),
        WeightsCommand::Verify(args) => verify(args),
        WeightsCommand::Export(args) => export(args),
        WeightsCommand::Path(args) => {
            print_line(&args.folder()?.display().to_string())?;
            Ok(0)
        }
    }
}

fn find(name: &str) -> Result<(Model, Manifest), CliError> {
    let model = models::find(name).map_err(Error::from)?;
    let manifest = model.manifest().map_err(Error::from)?;
    Ok((model, manifest))
}

/// Returns the name if the argument is a model rather than a file.
fn names_model(word: &Path) -> Option<&str> {
    word.to_str().filter(|word| models::all().iter().any(|model| model.name() == *word))
}

/// The file of a model that `tag` would use if only `store` were searched.
fn preferred(store: &Path, manifest: &Manifest) -> Result<PathBuf, WeightsError> {
    Locator { search: vec![store.to_path_buf()], ..Locator::default() }.locate(manifest)
}

fn fetch(args: &FetchArgs) -> Result<u8, CliError> {
    let store = args.store.folder()?;
    let variant = args.variant.map(|variant| match variant {
        VariantArg::Theano => Variant::Theano,
        VariantArg::Tensorflow => Variant::TensorFlow,
    });
    // Unknown names fail before anything is downloaded.
    let models = args.models.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let cancel = CancelToken::new();
    stop_on_interrupt(cancel.clone());
    for (model, manifest) in models {
        if model.is_embedded() {
            print_line(&format!("{}  built in, nothing to fetch", model.name()))?;
            continue;
        }
        let Some(entry) = manifest.file(variant) else {
            let message = format!("{}: this variant is not published", model.name());
            return Err(CliError { message, code: USAGE });
        };
        let bar = download_bar(&entry.name, entry.size);
        let options = FetchOptions { offline: args.offline, ..FetchOptions::default() };
        let mut progress = |at: weights::DownloadProgress| bar.set_position(at.received);
        let fetched = weights::fetch(entry, &store, &options, &mut progress, &cancel);
        bar.finish_and_clear();
        let fetched = fetched?;
        let how = match &fetched {
            Fetched::AlreadyThere(_) => "already there, digest as published",
            Fetched::Downloaded(_) => "downloaded, digest as published",
        };
        print_line(&format!("{}  {}  ({how})", model.name(), fetched.path().display()))?;
        warn_if_not_preferred(&store, &manifest, fetched.path());
    }
    Ok(0)
}

/// Warns if `tag` would use another file of the store than the new one.
fn warn_if_not_preferred(store: &Path, manifest: &Manifest, path: &Path) {
    if let Ok(taken) = preferred(store, manifest)
        && taken != path
    {
        say!(
            "tagwave: {} takes precedence: to use the new file, add --weights {}",
            taken.display(),
            path.display()
        );
    }
}

/// Progress bar of a download, on a terminal only.
fn download_bar(name: &str, size: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    let template = "{msg}  {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(name.to_string())
}

fn import(args: &ImportArgs) -> Result<u8, CliError> {
    let store = args.store.folder()?;
    let (model, manifest) = match &args.model {
        Some(name) => find(name)?,
        None => {
            let found = identify(&args.file)?;
            (found.model, found.manifest)
        }
    };
    let report = weights::import(&args.file, &model.architecture().tensors(), &manifest, &store)?;
    if let DigestCheck::Mismatch { file, expected, found } = &report.source.digest {
        say!("tagwave: this is not the published {file}: expected sha256 {expected}, found {found}");
    }
    print_line(&format!("{}  {}", model.name(), report.path.display()))?;
    print_line(&format!("   from     {} ({})", args.file.display(), origin(&report.source, &manifest)))?;
    print_line(&format!(
        "   arrays   {}, {} numbers, {} bytes",
        report.tensors, report.parameters, report.size
    ))?;
    if !report.absent.is_empty() {
        print_line(&format!("   without  {}", report.absent.join(", ")))?;
    }
    Ok(0)
}

fn list(args: &StoreArgs) -> Result<u8, CliError> {
    let store = args.folder()?;
    let models = all()?;
    let entries = weights::list(&store, models.iter().map(|(_, manifest)| manifest));
    if entries.is_empty() {
        say!("tagwave: no weights in {}: run `tagwave weights fetch crnn`", store.display());
    }
    for entry in entries {
        let manifest = models.iter().map(|(_, manifest)| manifest).find(|m| m.model == entry.model);
        let first = manifest.and_then(|manifest| preferred(&store, manifest).ok());
        let mark = if first.as_ref() == Some(&entry.path) { "  <- used" } else { "" };
        let variant = entry.variant.map_or(String::new(), |variant| format!(", {variant}"));
        let (path, format, size) = (entry.path.display(), entry.format, entry.size);
        print_line(&format!("{:8} {path}  ({format}{variant}, {size} bytes){mark}", entry.model))?;
    }
    Ok(0)
}

fn verify(args: &VerifyArgs) -> Result<u8, CliError> {
    let store = args.store.folder()?;
    let manifests: Vec<Manifest> = all()?.into_iter().map(|(_, manifest)| manifest).collect();
    let in_store = |model: Option<&str>| {
        let requested =
            manifests.iter().filter(move |manifest| model.is_none_or(|name| manifest.model == name));
        weights::list(&store, requested).into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    let mut files = Vec::new();
    if args.targets.is_empty() {
        files = in_store(None);
        if files.is_empty() {
            let message = format!("no weights in {}", store.display());
            return Err(CliError { message, code: USAGE });
        }
    }
    for target in &args.targets {
        match names_model(target) {
            Some(name) => match in_store(Some(name)) {
                none if none.is_empty() => return Err(not_found(name, &store)?.into()),
                found => files.extend(found),
            },
            None => files.push(target.clone()),
        }
    }
    let mut code = 0;
    for file in files {
        let report_line = identify(&file).and_then(|found| report_line(&found));
        match report_line {
            Ok(line) => print_line(&format!("ok       {}: {line}", file.display()))?,
            Err(bad) => {
                print_line(&format!("BAD      {}", bad.message))?;
                code = code.max(bad.code);
            }
        }
    }
    Ok(code)
}

/// Error of a model without a file in the store.
fn not_found(name: &str, store: &Path) -> Result<WeightsError, CliError> {
    let (_, manifest) = find(name)?;
    let found = preferred(store, &manifest).map(|path| path.display().to_string());
    Ok(found.err().unwrap_or(WeightsError::Cancelled))
}

fn export(args: &ExportArgs) -> Result<u8, CliError> {
    let (path, model, manifest) = match names_model(&args.source) {
        Some(name) => {
            let (model, manifest) = find(name)?;
            (preferred(&args.store.folder()?, &manifest)?, model, manifest)
        }
        None => {
            let found = identify(&args.source)?;
            (args.source.clone(), found.model, found.manifest)
        }
    };
    let loaded = weights::load(&path, &model.architecture().tensors(), &manifest)?;
    if let DigestCheck::Mismatch { file, expected, found } = &loaded.info().digest {
        say!("tagwave: this is not the published {file}: expected sha256 {expected}, found {found}");
    }
    let dtype = match args.precision {
        StoredAs::F32 => DType::F32,
        StoredAs::F16 => DType::F16,
    };
    let size = weights::export(&loaded, &args.output, dtype)?;
    print_line(&format!(
        "{}  {}  ({size} bytes, from {})",
        model.name(),
        args.output.display(),
        path.display()
    ))?;
    Ok(0)
}
