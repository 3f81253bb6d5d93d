//! Which model a weight file is for, and whether it is good.

use std::path::Path;

use super::weights::{all, failed};
use super::{Failed, SOME_FAILED, USAGE};
use crate::models::Model;
use crate::tensor::DType;
use crate::weights::{self, Contents, DigestCheck, Manifest, VerifyReport, WeightsInfo};

/// A file held against every model.
pub(super) struct Recognised {
    pub(super) model: Model,
    pub(super) manifest: Manifest,
    report: VerifyReport,
}

/// The model that a file is for: by its digest, by its arrays, at last by its name.
pub(super) fn recognise(path: &Path) -> Result<Recognised, Failed> {
    let mut candidates = Vec::new();
    for (model, manifest) in all()? {
        let report = weights::verify(path, &model.architecture.tensors(), &manifest).map_err(failed)?;
        candidates.push(Recognised { model, manifest, report });
    }
    let reports = || candidates.iter().map(|candidate| &candidate.report);
    let known = reports().position(|report| matches!(report.digest, DigestCheck::Known { .. }));
    let fitting: Vec<_> =
        reports().enumerate().filter(|(_, report)| report.contents.is_ok()).map(|(i, _)| i).collect();
    let place = match (known, fitting.as_slice()) {
        (Some(place), _) => Some(place),
        (None, [place]) => Some(*place),
        (None, [_, _, ..]) => {
            let names: Vec<_> = fitting.iter().map(|&i| candidates[i].model.name).collect();
            let message = format!("{}: fits {}: say which with --model", path.display(), names.join(" and "));
            return Err(Failed { message, code: USAGE });
        }
        (None, []) => reports().position(|report| matches!(report.digest, DigestCheck::Mismatch { .. })),
    };
    match place {
        Some(place) => Ok(candidates.swap_remove(place)),
        None => Err(Failed { message: fits_none(path, &candidates), code: SOME_FAILED }),
    }
}

/// Why a file fits no model; a reason that all share is given once.
fn fits_none(path: &Path, candidates: &[Recognised]) -> String {
    let reason = |candidate: &Recognised| match &candidate.report.contents {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    };
    let reasons: Vec<String> = candidates.iter().map(reason).collect();
    let path = path.display();
    if reasons.windows(2).all(|pair| pair[0] == pair[1]) {
        return format!("{path}: {}", reasons.first().map_or("", String::as_str));
    }
    let each = candidates.iter().zip(&reasons);
    let each: Vec<_> = each.map(|(candidate, why)| format!("\n  {}: {why}", candidate.model.name)).collect();
    format!("{path}: the arrays of no model:{}", each.concat())
}

/// What is to be said of a good file; the reason of a bad one.
pub(super) fn verdict(found: &Recognised) -> Result<String, Failed> {
    let Recognised { model, manifest, report } = found;
    let bad = |reason: String| Failed {
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
        model.name,
        tensors,
        trainable,
        statistics,
        match info.dtype {
            DType::F16 => "f16",
            DType::F32 => "f32",
        }
    ))
}

/// Which published file weights come from, in a few words.
pub(super) fn origin(info: &WeightsInfo, manifest: &Manifest) -> String {
    let digest = info.source_sha256.as_ref();
    match manifest.files.iter().find(|file| Some(&file.sha256) == digest) {
        Some(file) => format!("the published {}", file.name),
        None => "not published".into(),
    }
}
