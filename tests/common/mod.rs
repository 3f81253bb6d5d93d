//! What the test binaries share: the adapter and the fixtures.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod command;
pub mod executors;
pub mod npz;
pub mod seeded;

use std::path::PathBuf;

use tagwave::gpu::{Gpu, Selection};

fn required(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value != "0" && !value.is_empty())
}

/// The best adapter. Without one the test is skipped, or fails under `REQUIRE_GPU=1`. `TAGWAVE_TEST_ADAPTER`
/// names another one.
pub fn gpu() -> Option<Gpu> {
    let selection = match std::env::var("TAGWAVE_TEST_ADAPTER") {
        Ok(name) => Selection::Name(name),
        Err(_) => Selection::Best,
    };
    match Gpu::request(&selection) {
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

/// A file of the fixture folder, or `None` when there is none; a failure under `REQUIRE_FIXTURES=1`.
pub fn fixture(path: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TAGWAVE_FIXTURES") else {
        assert!(!required("REQUIRE_FIXTURES"), "REQUIRE_FIXTURES is set and TAGWAVE_FIXTURES is not");
        println!("not run: TAGWAVE_FIXTURES is not set ({path})");
        return None;
    };
    let file = PathBuf::from(folder).join(path);
    assert!(file.exists(), "fixture {} is missing", file.display());
    Some(file)
}
