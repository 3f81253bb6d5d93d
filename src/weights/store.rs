//! Where weight files are kept: finding them, importing, listing, checking and exporting them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::WeightsError;
use super::keras::Variant;
use super::manifest::{DigestCheck, Manifest};
use super::table::{Role, TensorSpec, parameter_count};
use super::{Format, Weights, WeightsInfo, format_of, parse, read_file, safetensors, sha256_hex};
use crate::tensor::DType;

/// Name of our own file for a model: `<model>.safetensors`.
pub fn own_file_name(model: &str) -> String {
    format!("{model}.safetensors")
}

/// Where to look for weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    /// A file, taken as it is, or the only directory to search.
    pub explicit: Option<PathBuf>,
    /// Directories to search otherwise, best first.
    pub search: Vec<PathBuf>,
    /// Only a published file of this variant will do.
    pub variant: Option<Variant>,
}

impl Locator {
    /// The weight file to use for a model.
    ///
    /// In a directory, our own `<model>.safetensors` comes first, then the published files in the manifest's
    /// order, by name and then by their path in the repository, so that a checkout of it will do. The first
    /// directory that has any of them wins. With [`Locator::variant`] only published files of that variant
    /// are considered.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when the explicit path does not exist, [`WeightsError::NotFound`].
    pub fn locate(&self, manifest: &Manifest) -> Result<PathBuf, WeightsError> {
        let searched = match &self.explicit {
            Some(path) if std::fs::metadata(path).map_err(WeightsError::io("read", path))?.is_dir() => {
                vec![path.clone()]
            }
            Some(path) => return Ok(path.clone()),
            None => self.search.clone(),
        };
        let own = self.variant.is_none().then(|| own_file_name(&manifest.model));
        let files: Vec<_> = manifest
            .files
            .iter()
            .filter(|file| self.variant.is_none_or(|variant| file.variant == variant))
            .collect();
        let embedded = manifest.embedded.as_ref().filter(|_| own.is_some()).map(|file| file.name.as_str());
        for directory in &searched {
            let names = own.iter().map(String::as_str).chain(embedded);
            let names = names.chain(files.iter().flat_map(|file| [file.name.as_str(), file.path.as_str()]));
            if let Some(path) = names.map(|name| directory.join(name)).find(|path| path.is_file()) {
                return Ok(path);
            }
        }
        Err(WeightsError::NotFound {
            model: manifest.model.clone(),
            wanted: own
                .into_iter()
                .chain(embedded.map(str::to_string))
                .chain(files.iter().map(|file| file.name.clone()))
                .collect(),
            searched,
            advice: match embedded {
                Some(_) => {
                    "leave --weights out for those of the program, or name another model with --model".into()
                }
                None => format!(
                    "get them with `tagwave weights fetch {}`, or from {} and pass `--weights DIR`",
                    manifest.model, manifest.repository
                ),
            },
        })
    }
}

/// A weight file found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// The model it is for.
    pub model: String,
    /// The file.
    pub path: PathBuf,
    /// Its format, by its name.
    pub format: Format,
    /// The backend of a published file, by its name.
    pub variant: Option<Variant>,
    /// Its size in bytes.
    pub size: u64,
}

/// The weight files of these models in `directory`, in the order [`Locator::locate`] prefers them. They are
/// not opened: see [`verify`]. A directory that does not exist is empty.
pub fn list<'a>(directory: &Path, manifests: impl IntoIterator<Item = &'a Manifest>) -> Vec<StoreEntry> {
    let mut entries = Vec::new();
    for manifest in manifests {
        let own = (own_file_name(&manifest.model), Format::Safetensors, None);
        let published =
            manifest.files.iter().map(|file| (file.name.clone(), Format::Keras, Some(file.variant)));
        for (name, format, variant) in std::iter::once(own).chain(published) {
            let path = directory.join(name);
            if let Some(metadata) = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file) {
                let (model, size) = (manifest.model.clone(), metadata.len());
                entries.push(StoreEntry { model, path, format, variant, size });
            }
        }
    }
    entries
}

/// What [`import`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The file that was written.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Where the weights are from. Its [`WeightsInfo::digest`] is for the caller to show.
    pub source: WeightsInfo,
    /// Number of arrays written.
    pub tensors: usize,
    /// Number of their elements.
    pub parameters: usize,
    /// Optional arrays of the table that the file lacks, by our names.
    pub absent: Vec<String>,
}

/// Reads a weight file and writes it as `<model>.safetensors` (f32) into `directory`, which is created when
/// it does not exist. The file appears whole or not at all; an older one is replaced.
///
/// # Errors
/// Those of [`super::load`] and [`export`].
pub fn import(
    path: &Path,
    specs: &[TensorSpec],
    manifest: &Manifest,
    directory: &Path,
) -> Result<ImportReport, WeightsError> {
    let weights = super::load(path, specs, manifest)?;
    std::fs::create_dir_all(directory).map_err(WeightsError::io("create", directory))?;
    let target = directory.join(own_file_name(&manifest.model));
    let size = export(&weights, &target, DType::F32)?;
    Ok(ImportReport {
        path: target,
        size,
        tensors: weights.names().len(),
        parameters: weights.parameter_count(),
        absent: absent(&weights, specs),
        source: weights.info().clone(),
    })
}

/// Writes weights to a safetensors file; returns its size in bytes. f32 keeps every bit. The file appears
/// whole or not at all; an older one is replaced.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::NotFinite`], [`WeightsError::HalfRange`].
pub fn export(weights: &Weights, path: &Path, dtype: DType) -> Result<u64, WeightsError> {
    safetensors::writable(weights, dtype)?;
    let temp = temporary_beside(path)?;
    safetensors::write(weights, dtype, BufWriter::new(temp.as_file()))
        .map_err(WeightsError::io("write", path))?;
    publish(temp, path)
}

/// What [`verify`] found.
#[derive(Debug)]
pub struct VerifyReport {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Its digest against the manifest's.
    pub digest: DigestCheck,
    /// Its format, if it is one of the two.
    pub format: Option<Format>,
    /// What is in it, or why it cannot be used.
    pub contents: Result<Contents, WeightsError>,
}

/// The contents of a weight file that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Number of arrays of the model.
    pub tensors: usize,
    /// Number of elements of its trainable arrays.
    pub trainable: usize,
    /// Number of elements of its running statistics.
    pub statistics: usize,
    /// Optional arrays that the file lacks, by our names.
    pub absent: Vec<String>,
    /// What the file says about itself.
    pub info: WeightsInfo,
}

impl VerifyReport {
    /// Whether the file can be used and is not a changed copy of a published one.
    pub fn is_good(&self) -> bool {
        self.contents.is_ok() && !matches!(self.digest, DigestCheck::Mismatch { .. })
    }
}

/// Checks a weight file: its digest, and that it holds what the model needs. A file that cannot be used is a
/// finding of the report.
///
/// # Errors
/// [`WeightsError::Io`] and [`WeightsError::File`] when the file cannot even be read as bytes.
pub fn verify(path: &Path, specs: &[TensorSpec], manifest: &Manifest) -> Result<VerifyReport, WeightsError> {
    let bytes = read_file(path)?;
    let sha256 = sha256_hex(&bytes);
    let (size, format) = (bytes.len() as u64, format_of(&bytes).ok());
    let digest = manifest.check(path, &sha256);
    let contents = parse(bytes, specs, manifest).map(|weights| {
        let there: Vec<_> =
            specs.iter().filter(|spec| weights.get_optional(&spec.name).is_some()).cloned().collect();
        Contents {
            tensors: there.len(),
            trainable: parameter_count(&there, Role::Trainable),
            statistics: parameter_count(&there, Role::Statistic),
            absent: absent(&weights, specs),
            info: weights.info().clone(),
        }
    });
    Ok(VerifyReport { path: path.to_path_buf(), size, sha256, digest, format, contents })
}

fn absent(weights: &Weights, specs: &[TensorSpec]) -> Vec<String> {
    let names = specs.iter().map(|spec| &spec.name);
    names.filter(|name| weights.get_optional(name).is_none()).cloned().collect()
}

/// A temporary file in the directory of `path`, removed when dropped. Its name starts with a dot and never
/// ends like a weight file.
pub(crate) fn temporary_beside(path: &Path) -> Result<NamedTempFile, WeightsError> {
    let directory = directory_of(path);
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", path.file_name().unwrap_or(OsStr::new("weights")).to_string_lossy());
    builder.prefix(&prefix).suffix(".part");
    // Weights are no secret; without this only their owner could read a shared store. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory).map_err(WeightsError::io("create a file in", directory))
}

/// Makes a finished temporary file visible as `path`, in one step and for good; returns its size.
pub(crate) fn publish(mut temp: NamedTempFile, path: &Path) -> Result<u64, WeightsError> {
    let failed = |error| WeightsError::io("write", path)(error);
    temp.flush().map_err(failed)?;
    temp.as_file().sync_all().map_err(failed)?;
    let size = temp.as_file().metadata().map_err(failed)?.len();
    temp.persist(path).map_err(|error| failed(error.error))?;
    // On Unix the new name is on disk only when its directory is. A file system that cannot say so has
    // nothing better to offer.
    #[cfg(unix)]
    if let Ok(directory) = File::open(directory_of(path)) {
        let _ = directory.sync_all();
    }
    Ok(size)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
