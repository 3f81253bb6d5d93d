//! Errors of commands: the library's message, the options and commands that help, and the exit code.

use std::io;

use tagwave::ErrorKind;
use tagwave::audio::AudioError;
use tagwave::error::{Cause, Error};
use tagwave::gpu::GpuError;
use tagwave::models::ModelError;
use tagwave::sinks::Failure;
use tagwave::weights::WeightsError;

use crate::{INTERRUPTED, NO_DEVICE, SOME_FAILED, USAGE};

/// Error of a command, with its exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl CliError {
    /// A command that was called wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), code: USAGE }
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> CliError {
        let code = match error.cause() {
            Cause::Weights(_) | Cause::Model(_) | Cause::Plan(_) => USAGE,
            Cause::Gpu(GpuError::Dispatch { .. }) => NO_DEVICE,
            Cause::Audio(_) => SOME_FAILED,
            _ => match error.kind() {
                ErrorKind::Device => NO_DEVICE,
                ErrorKind::Unsupported => USAGE,
                _ => SOME_FAILED,
            },
        };
        CliError { message: message(&error), code }
    }
}

impl From<WeightsError> for CliError {
    /// Missing files are usage errors; damaged files and failed downloads are not.
    fn from(error: WeightsError) -> CliError {
        let code = match &error {
            WeightsError::NotFound { .. } | WeightsError::Offline { .. } => USAGE,
            WeightsError::Io { action: "read", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                USAGE
            }
            WeightsError::Cancelled => INTERRUPTED,
            _ => SOME_FAILED,
        };
        CliError { message: weights_message(&error), code }
    }
}

/// Row of a file that failed.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure { kind: error.kind(), message: message(error) }
}

/// Message of an error, with the options and commands that help.
fn message(error: &Error) -> String {
    match error.cause() {
        Cause::DependentClips { model } => format!(
            "with --compat original, scores of {model} depend on the batch: use `tagwave reproduce`, or --compat \
             corrected"
        ),
        Cause::Audio(AudioError::Playlist) => format!("{error}; pass the list with --files-from"),
        Cause::Weights(error) | Cause::Model(ModelError::Weights(error)) => weights_message(error),
        _ => error.to_string(),
    }
}

fn weights_message(error: &WeightsError) -> String {
    match error {
        WeightsError::NotFound { is_built_in: true, .. } => {
            format!(
                "{error}; omit --weights to use the built-in weights, or choose another model with --model"
            )
        }
        WeightsError::NotFound { model, .. } => {
            format!("{error}; run `tagwave weights fetch {model}`, or pass the folder with --weights")
        }
        _ => error.to_string(),
    }
}

/// Runs `read`, which parses tags of a stranger's file: a panic is an error of that file.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    result.unwrap_or_else(|_| Err("its tags crash their reader: please report the file".into()))
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        let error = guarded::<()>(|| panic!("a panic of this test")).unwrap_err();
        assert!(error.contains("report"), "{error}");
    }
}
