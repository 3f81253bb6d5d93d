//! The program `tagwave`.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the program with the arguments of a command line, which begin with its name, and returns its exit code. It handles
/// Ctrl-C itself, and may end the process.
#[pyfunction]
pub(crate) fn run_program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| tagwave_cli::run(arguments.into_iter()))
}
