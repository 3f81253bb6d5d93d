//! Shared code of the tests: adapter and fixtures.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod audio;
pub mod executors;
pub mod npz;
pub mod seeded;

use std::path::PathBuf;

use tagwave::gpu::{Context, Selection};

fn required(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value != "0" && !value.is_empty())
}

/// Opens the best adapter, or the one named by `TAGWAVE_TEST_ADAPTER`. Without one the test is skipped, or fails under
/// `REQUIRE_GPU=1`.
pub fn gpu() -> Option<Context> {
    let selection = match std::env::var("TAGWAVE_TEST_ADAPTER") {
        Ok(name) => Selection::Name(name),
        Err(_) => Selection::Best,
    };
    match Context::request(&selection) {
        Ok(gpu) => {
            let adapter = gpu.summary();
            println!("adapter: {} ({}, {})", adapter.name, adapter.backend, adapter.driver);
            Some(gpu)
        }
        Err(error) if required("REQUIRE_GPU") => panic!("REQUIRE_GPU is set: {error}"),
        Err(error) => {
            println!("skipped: no adapter ({error})");
            None
        }
    }
}

/// Path of a fixture, or `None` without a fixture folder; fails under `REQUIRE_FIXTURES=1`.
pub fn fixture(path: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TAGWAVE_FIXTURES") else {
        assert!(!required("REQUIRE_FIXTURES"), "REQUIRE_FIXTURES is set and TAGWAVE_FIXTURES is not");
        println!("not run: TAGWAVE_FIXTURES is not set ({path})");
        return None;
    };
    let file = std::path::absolute(PathBuf::from(folder).join(path)).unwrap();
    assert!(file.exists(), "fixture {} is missing", file.display());
    Some(file)
}
