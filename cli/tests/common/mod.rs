//! Shared code of the tests of the program, and that of the library's tests.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod command;
#[cfg(unix)]
pub mod library;
#[path = "../../../tests/common/mod.rs"]
mod shared;

use std::path::{Path, PathBuf};

pub use shared::*;

/// Path of a file in the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
