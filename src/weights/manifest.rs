//! Manifest of a model: URLs, digests and licence of its weights.

use std::path::Path;

use serde::Deserialize;

use super::checkpoint::Variant;
use super::error::WeightsError;
use super::file::MAX_FILE_BYTES;

/// Manifest of a model's weights: published by the original, or built into the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the model.
    pub model: String,
    /// Short description of the model.
    pub title: String,
    /// URL of the repository of the weights.
    pub repository: String,
    /// Commit of the published files, 40 hexadecimal digits.
    pub commit: Option<String>,
    /// Licence of the weights, as an SPDX identifier.
    pub licence: String,
    /// Copyright line required by the licence.
    pub copyright: String,
    /// Citation.
    pub citation: String,
    /// The published files, best first.
    #[serde(default)]
    pub files: Vec<ManifestFile>,
    /// File built into the program, for a model trained by this project.
    pub embedded: Option<EmbeddedFile>,
}

/// Weight file built into the program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedFile {
    /// File name, without any directory.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// One published weight file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// File name, without any directory.
    pub name: String,
    /// Path in the repository.
    pub path: String,
    /// Backend that wrote the file.
    pub variant: Variant,
    /// Download URL.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Comparison of a file's digest with a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DigestCheck {
    /// The content is that of a published file, whatever its name.
    Known {
        /// The published name.
        file: String,
    },
    /// Neither content nor name are published: the user's own weights.
    #[default]
    Unknown,
    /// The name is that of a published file, the content is not: damaged or modified.
    Mismatch {
        /// The published name.
        file: String,
        /// Published digest.
        expected: String,
        /// Digest of this file.
        found: String,
    },
}

impl Manifest {
    /// Parses a TOML manifest and validates names, URLs, digests and sizes.
    ///
    /// # Errors
    /// [`WeightsError::Manifest`].
    pub fn parse(text: &str) -> Result<Manifest, WeightsError> {
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| WeightsError::Manifest { reason: error.to_string() })?;
        match manifest.defect() {
            Some(reason) => Err(WeightsError::Manifest { reason }),
            None => Ok(manifest),
        }
    }

    fn defect(&self) -> Option<String> {
        if !is_name(&self.model) {
            return Some(format!("model: expected letters, digits, '-' and '_', found \"{}\"", self.model));
        }
        match &self.commit {
            Some(commit) if !is_hex(commit, 40) => {
                return Some(format!("commit: expected 40 hexadecimal digits, found \"{commit}\""));
            }
            None if !self.files.is_empty() => return Some("commit: expected that of the files".to_string()),
            _ => {}
        }
        if self.files.is_empty() && self.embedded.is_none() {
            return Some("files: expected at least one, or an embedded one".to_string());
        }
        self.files
            .iter()
            .find_map(|file| file.defect().map(|defect| format!("file \"{}\": {defect}", file.name)))
    }

    /// Repository and commit in one line.
    pub fn origin(&self) -> String {
        match &self.commit {
            Some(commit) => format!("{} at {commit}", self.repository),
            None => self.repository.clone(),
        }
    }

    /// Published file of `variant`, or the first one.
    pub fn file(&self, variant: impl Into<Option<Variant>>) -> Option<&ManifestFile> {
        let variant = variant.into();
        self.files.iter().find(|file| variant.is_none_or(|variant| file.variant == variant))
    }

    /// Compares the digest of the file at `path`, 64 lower-case hexadecimal digits, with the published ones.
    pub fn check(&self, path: &Path, sha256: &str) -> DigestCheck {
        if let Some(file) = self.files.iter().find(|file| file.sha256 == sha256) {
            return DigestCheck::Known { file: file.name.clone() };
        }
        if let Some(file) = self.embedded.as_ref().filter(|file| file.sha256 == sha256) {
            return DigestCheck::Known { file: file.name.clone() };
        }
        match self.files.iter().find(|file| path.file_name().is_some_and(|name| name == file.name.as_str())) {
            Some(file) => DigestCheck::Mismatch {
                file: file.name.clone(),
                expected: file.sha256.clone(),
                found: sha256.to_string(),
            },
            None => DigestCheck::Unknown,
        }
    }
}

impl ManifestFile {
    /// Error message if the entry is invalid. The name is used as a file name.
    pub(crate) fn defect(&self) -> Option<String> {
        if !is_name(&self.name) {
            Some("name: expected letters, digits, '-', '_' and '.', not first".to_string())
        } else if !self.path.split('/').all(is_name) {
            Some(format!("path: expected names joined by '/', found \"{}\"", self.path))
        } else if !is_hex(&self.sha256, 64) {
            Some(format!("sha256: expected 64 lower-case hexadecimal digits, found \"{}\"", self.sha256))
        } else if self.size == 0 || self.size > MAX_FILE_BYTES {
            Some(format!("size: expected 1 to {MAX_FILE_BYTES}, found {}", self.size))
        } else {
            None
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
