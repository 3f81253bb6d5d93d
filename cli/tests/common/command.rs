//! Runs the built program, isolated from the user's settings and data folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Temporary folder used as `HOME` and data folder.
pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Default folder of weights.
    pub fn store(&self) -> PathBuf {
        self.path("data").join("tagwave").join("weights")
    }

    /// The program with arguments, run in this folder; the default model is `crnn`.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagwave"));
        for variable in ["TAGWAVE_WEIGHTS", "TAGWAVE_DEVICE"] {
            command.env_remove(variable);
        }
        command.env("TAGWAVE_MODEL", "crnn");
        command.env("HOME", self.0.path()).env("XDG_DATA_HOME", self.path("data"));
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env("APPDATA", self.path("data")).env("LOCALAPPDATA", self.path("cache"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns its standard output.
    pub fn ok<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, arguments: &[S]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must exit with `code` and returns its standard error.
    pub fn fails<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, code: i32, arguments: &[S]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        errors
    }
}

pub fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
