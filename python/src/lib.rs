//! The module `tagwave._native`: arguments to calls of the library, results to arrays. The package `tagwave` is made of it
//! in Python.
//!
//! Work runs on threads of its own while the calling thread waits without the interpreter and looks for signals (`work`).
//! Objects with threads refuse to be used after a fork (`process`).
#![warn(missing_docs)]

mod catalogue;
mod errors;
mod process;
mod program;
mod rows;
mod samples;
mod settings;
mod stream;
mod tagger;
mod track;
mod work;

/// Tagging on top of the Rust library; use the package `tagwave`.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::catalogue::{labels, models};
    #[pymodule_export]
    use crate::program::run_program;
    #[pymodule_export]
    use crate::rows::{Row, RowRun, TableWriter};
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::tagger::Tagger;
    #[pymodule_export]
    use crate::work::finish;
}
