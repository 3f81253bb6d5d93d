//! Weight store: finds, imports, lists, verifies and exports weight files.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::checkpoint::Variant;
use super::error::WeightsError;
use super::file::{read_file, sha256_hex};
use super::info::{WeightsFormat, WeightsInfo};
use super::load::parse;
use super::manifest::{DigestCheck, Manifest};
use super::named::Weights;
use super::raw::format_of;
use super::safetensors;
use super::table::{TensorRole, TensorSpec, parameter_count};
use crate::atomic_file::{create_beside, publish};
use crate::tensor::DType;

/// Name of a model's safetensors file: `<model>.safetensors`.
pub fn own_file_name(model: &str) -> String {
    format!("{model}.safetensors")
}

/// Search path for weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    /// A file to use, or the only directory to search.
    pub explicit: Option<PathBuf>,
    /// Directories to search otherwise, in order.
    pub search: Vec<PathBuf>,
    /// Restricts the search to published files of this variant.
    pub variant: Option<Variant>,
}

impl Locator {
    /// Finds the weight file of a model.
    ///
    /// In each directory, `<model>.safetensors` comes first, then the published files in the order of the manifest, by
    /// name and by path in the repository. The first directory with any of them is used. With [`Locator::variant`] only
    /// published files of that variant are considered.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when the explicit path does not exist, [`WeightsError::NotFound`].
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
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
            repository: manifest.repository.clone(),
            is_built_in: embedded.is_some(),
        })
    }
}

/// Weight file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// Name of the model.
    pub model: String,
    /// The file.
    pub path: PathBuf,
    /// Format, by file name.
    pub format: WeightsFormat,
    /// Backend of a published file, by file name.
    pub variant: Option<Variant>,
    /// Size in bytes.
    pub size: u64,
}

/// Lists the weight files of models in `directory`, in the order of [`Locator::locate`]. They are not opened: see
/// [`verify`]. A missing directory is empty.
pub fn list<'a>(directory: &Path, manifests: impl IntoIterator<Item = &'a Manifest>) -> Vec<StoreEntry> {
    let mut entries = Vec::new();
    for manifest in manifests {
        let own = (own_file_name(&manifest.model), WeightsFormat::Safetensors, None);
        let published =
            manifest.files.iter().map(|file| (file.name.clone(), WeightsFormat::Keras, Some(file.variant)));
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

/// Result of [`import`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// Output file.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Origin of the weights. Callers should report a mismatch of its [`WeightsInfo::digest`].
    pub source: WeightsInfo,
    /// Number of arrays.
    pub tensors: usize,
    /// Number of their elements.
    pub parameters: usize,
    /// Names of optional arrays that the file lacks.
    pub absent: Vec<String>,
}

/// Converts a weight file to `<model>.safetensors` (f32) in `directory`, which is created if missing. The file is
/// written atomically and replaces an older one.
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

/// Writes weights to a safetensors file and returns its size in bytes. f32 is exact. The file is written atomically and
/// replaces an older one.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::NotFinite`], [`WeightsError::HalfRange`].
pub fn export(weights: &Weights, path: &Path, dtype: DType) -> Result<u64, WeightsError> {
    safetensors::writable(weights, dtype)?;
    let temp = create_beside(path).map_err(WeightsError::io("create", path))?;
    safetensors::write(weights, dtype, BufWriter::new(temp.as_file()))
        .map_err(WeightsError::io("write", path))?;
    publish(temp, path).map_err(WeightsError::io("write", path))
}

/// Result of [`verify`].
#[derive(Debug)]
pub struct VerifyReport {
    /// The file.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Comparison of the digest with the manifest.
    pub digest: DigestCheck,
    /// Format, if recognised.
    pub format: Option<WeightsFormat>,
    /// Contents, or the error.
    pub contents: Result<Contents, WeightsError>,
}

/// Contents of a valid weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Number of arrays of the model.
    pub tensors: usize,
    /// Number of elements of its trainable arrays.
    pub trainable: usize,
    /// Number of elements of its running statistics.
    pub statistics: usize,
    /// Names of optional arrays that the file lacks.
    pub absent: Vec<String>,
    /// Metadata of the file.
    pub info: WeightsInfo,
}

impl VerifyReport {
    /// True if the file is valid and not a modified copy of a published one.
    pub fn is_good(&self) -> bool {
        self.contents.is_ok() && !matches!(self.digest, DigestCheck::Mismatch { .. })
    }
}

/// Verifies the digest and contents of a weight file. An invalid file is not an error but part of the report.
///
/// # Errors
/// [`WeightsError::Io`] and [`WeightsError::File`] if the file cannot be read.
pub fn verify(path: &Path, specs: &[TensorSpec], manifest: &Manifest) -> Result<VerifyReport, WeightsError> {
    let bytes = read_file(path)?;
    let sha256 = sha256_hex(&bytes);
    let (size, format) = (bytes.len() as u64, format_of(&bytes).ok());
    let digest = manifest.check(path, &sha256);
    let contents = parse(bytes, specs, Some(&manifest.model)).map(|weights| {
        let there: Vec<_> =
            specs.iter().filter(|spec| weights.get_optional(&spec.name).is_some()).cloned().collect();
        Contents {
            tensors: there.len(),
            trainable: parameter_count(&there, TensorRole::Trainable),
            statistics: parameter_count(&there, TensorRole::Statistic),
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
