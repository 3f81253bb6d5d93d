//! Identification and verification of weight files.

use std::path::Path;

use super::{CliError, SOME_FAILED, USAGE};
use tagwave::error::Error;
use tagwave::models::{self, Model};
use tagwave::tensor::DType;
use tagwave::weights::{self, Contents, DigestCheck, Manifest, VerifyReport, WeightsInfo};

/// A weight file and the model that it belongs to.
pub(super) struct IdentifiedFile {
    pub(super) model: Model,
    pub(super) manifest: Manifest,
    report: VerifyReport,
}

/// All models with their manifests.
pub(super) fn all() -> Result<Vec<(Model, Manifest)>, CliError> {
    let pairs = models::all().into_iter().map(|model| Ok((model.manifest()?, model)));
    let pairs: Result<Vec<_>, models::ModelError> = pairs.collect();
    Ok(pairs.map_err(Error::from)?.into_iter().map(|(manifest, model)| (model, manifest)).collect())
}

/// Identifies the model of a weight file by digest, by arrays, or by name.
pub(super) fn identify(path: &Path) -> Result<IdentifiedFile, CliError> {
    let mut candidates = Vec::new();
    for (model, manifest) in all()? {
        let report = weights::verify(path, &model.architecture().tensors(), &manifest)?;
        candidates.push(IdentifiedFile { model, manifest, report });
    }
    let reports = || candidates.iter().map(|candidate| &candidate.report);
    let known = reports().position(|report| matches!(report.digest, DigestCheck::Known { .. }));
    let fitting: Vec<_> =
        reports().enumerate().filter(|(_, report)| report.contents.is_ok()).map(|(i, _)| i).collect();
    let place = match (known, fitting.as_slice()) {
        (Some(place), _) => Some(place),
        (None, [place]) => Some(*place),
        (None, [_, _, ..]) => {
            let names: Vec<_> = fitting.iter().map(|&i| candidates[i].model.name()).collect();
            let message =
                format!("{}: fits {}: choose one with --model", path.display(), names.join(" and "));
            return Err(CliError { message, code: USAGE });
        }
        (None, []) => reports().position(|report| matches!(report.digest, DigestCheck::Mismatch { .. })),
    };
    match place {
        Some(place) => Ok(candidates.swap_remove(place)),
        None => Err(CliError { message: fits_none(path, &candidates), code: SOME_FAILED }),
    }
}

/// Error message for a file that fits no model; a reason shared by all models is given once.
fn fits_none(path: &Path, candidates: &[IdentifiedFile]) -> String {
    let reason = |candidate: &IdentifiedFile| match &candidate.report.contents {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    };
    let reasons: Vec<String> = candidates.iter().map(reason).collect();
    let path = path.display();
    if reasons.windows(2).all(|pair| pair[0] == pair[1]) {
        return format!("{path}: {}", reasons.first().map_or("", String::as_str));
    }
    let each = candidates.iter().zip(&reasons);
    let each: Vec<_> =
        each.map(|(candidate, why)| format!("\n  {}: {why}", candidate.model.name())).collect();
    format!("{path}: fits no model:{}", each.concat())
}

/// Summary of a valid file, or the error of an invalid one.
pub(super) fn report_line(found: &IdentifiedFile) -> Result<String, CliError> {
    let IdentifiedFile { model, manifest, report } = found;
    let bad = |reason: String| CliError {
        message: format!("{}: {reason}", report.path.display()),
        code: SOME_FAILED,
    };
    if let DigestCheck::Mismatch { file, expected, found } = &report.digest {
        let damage = report.contents.as_ref().err().map_or(String::new(), |error| format!("; {error}"));
        return Err(bad(format!(
            "not the published {file}: expected sha256 {expected}, found {found}{damage}"
        )));
    }
    let Contents { tensors, trainable, statistics, absent, info } =
        report.contents.as_ref().map_err(|error| bad(error.to_string()))?;
    let published = match &report.digest {
        DigestCheck::Known { file } => format!("digest as published for {file}"),
        _ => format!("from {}", origin(info, manifest)),
    };
    let without = if absent.is_empty() { String::new() } else { format!(", without {}", absent.join(", ")) };
    Ok(format!(
        "{}, {} arrays, {} weights, {} statistics, {}{without}; {published}",
        model.name(),
        tensors,
        trainable,
        statistics,
        match info.dtype {
            DType::F16 => "f16",
            DType::F32 => "f32",
        }
    ))
}

/// Origin of weights: the name of the published file, if any.
pub(super) fn origin(info: &WeightsInfo, manifest: &Manifest) -> String {
    let digest = info.source_sha256.as_ref();
    match manifest.files.iter().find(|file| Some(&file.sha256) == digest) {
        Some(file) => format!("the published {}", file.name),
        None => "not published".into(),
    }
}
