//! Errors of the library as exceptions.

use std::error::Error as _;
use std::path::Path;

use pyo3::PyErr;
use tagwave::models;
use tagwave::weights::WeightsError;
use tagwave::{Error, ErrorKind};

pyo3::import_exception!(tagwave._errors, AudioError);
pyo3::import_exception!(tagwave._errors, DeviceError);
pyo3::import_exception!(tagwave._errors, InputError);
pyo3::import_exception!(tagwave._errors, ModelError);
pyo3::import_exception!(tagwave._errors, ResourceError);
pyo3::import_exception!(tagwave._errors, TagwaveError);

/// Arguments of the exceptions: message, kind, path.
type Details = (String, &'static str, Option<String>);

/// Invalid argument.
pub(crate) fn input(message: impl Into<String>) -> PyErr {
    InputError::new_err(details(message.into(), ErrorKind::Input, None))
}

/// Error of the use of an object, or of this package.
pub(crate) fn other(message: impl Into<String>, kind: ErrorKind) -> PyErr {
    let details = details(message.into(), kind, None);
    match kind {
        ErrorKind::Device => DeviceError::new_err(details),
        ErrorKind::Resource => ResourceError::new_err(details),
        _ => TagwaveError::new_err(details),
    }
}

/// Error of opening a model.
pub(crate) fn of_model(error: &Error) -> PyErr {
    let Some(source) = error.source() else { return of_samples(error) };
    match source.downcast_ref::<models::ModelError>() {
        Some(models::ModelError::Weights(weights)) => of_weights(weights, error.kind()),
        Some(_) => ModelError::new_err(details(error.to_string(), error.kind(), None)),
        None => match source.downcast_ref::<WeightsError>() {
            Some(weights) => of_weights(weights, error.kind()),
            None => of_samples(error),
        },
    }
}

fn of_weights(error: &WeightsError, kind: ErrorKind) -> PyErr {
    let message = match error {
        WeightsError::NotFound { model, is_built_in: false, .. } => {
            format!("{error}; run `tagwave weights fetch {model}`, or pass the folder as weights=...")
        }
        _ => error.to_string(),
    };
    ModelError::new_err(details(message, kind, None))
}

/// Error of tagging samples, or of a call without audio.
pub(crate) fn of_samples(error: &Error) -> PyErr {
    match error.kind() {
        ErrorKind::Input => input(error.to_string()),
        kind => other(error.to_string(), kind),
    }
}

/// Error of tagging a file.
pub(crate) fn of_file(error: &Error, path: &Path) -> PyErr {
    let path = path.to_string_lossy().into_owned();
    let details = details(format!("{path}: {error}"), error.kind(), Some(path));
    match error.kind() {
        ErrorKind::Input | ErrorKind::Unsupported => AudioError::new_err(details),
        ErrorKind::Device => DeviceError::new_err(details),
        ErrorKind::Resource => ResourceError::new_err(details),
        _ => TagwaveError::new_err(details),
    }
}

fn details(message: String, kind: ErrorKind, path: Option<String>) -> Details {
    (message, kind.as_str(), path)
}
