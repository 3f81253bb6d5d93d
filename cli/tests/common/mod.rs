//! Shared code of the tests of the program, and that of the library's tests.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod command;
pub mod library;
#[path = "../../../tests/common/mod.rs"]
mod shared;

use std::path::{Path, PathBuf};

pub use shared::*;

/// Path of a file in the repository, absolute: Wine would look for `/folder` on the drive of the current folder.
pub fn in_repository(path: &str) -> PathBuf {
    std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}
