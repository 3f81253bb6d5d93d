//! `cargo xtask targets`, which checks code that the tests do not build (the library for other systems, the fuzz
//! targets), and cargo commands for a target.
//!
//! A target is built with its own standard library (`rustup target add TARGET`), else with one that is built from source
//! where the toolchain has it (`rustup component add rust-src`).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{cargo, run};

/// Targets, with the features of the library to check: all that compile no C, as the TLS of downloads does; in a browser
/// those of an application with a device.
const TARGETS: [(&str, &str); 3] =
    [(WINDOWS, NATIVE), ("aarch64-apple-darwin", NATIVE), ("wasm32-unknown-unknown", "small,webgpu")];
const NATIVE: &str = "cpu,decode,evaluation,gpu,keras,pca,search,sinks,small";
const DLLTOOL: &str = "x86_64-w64-mingw32-dlltool";
pub const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// A cargo command with a target, or the reason why it cannot be built for.
pub fn cargo_for(target: &str, arguments: &[&str]) -> Result<Command, String> {
    let sysroot =
        Command::new("rustc").args(["--print", "sysroot"]).output().map_err(|error| error.to_string())?;
    let rustlib = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim()).join("lib/rustlib");
    let mut command = cargo(arguments);
    command.args(["--target", target]);
    if !rustlib.join(target).join("lib").exists() {
        if !rustlib.join("src/rust/library/Cargo.toml").exists() {
            return Err(format!("no standard library of {target} (rustup target add {target})"));
        }
        command.args(["-Z", "build-std"]).env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(command)
}

/// True if a program is on PATH.
pub fn has_program(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Checks what can be checked here and names the rest.
pub fn check() -> Result<(), String> {
    let systems = TARGETS.map(|(target, features)| (target, library(target, features)));
    for (name, command) in systems.into_iter().chain([("fuzz", fuzz_targets())]) {
        match command {
            Ok(mut command) => {
                run(&mut command)?;
                println!("checked: {name}");
            }
            Err(missing) => println!("not run: {name}: {missing}"),
        }
    }
    Ok(())
}

fn library(target: &str, features: &str) -> Result<Command, String> {
    if target == WINDOWS && !cfg!(windows) && !has_program(DLLTOOL) {
        return Err(format!("no {DLLTOOL} on PATH (Debian: binutils-mingw-w64-x86-64)"));
    }
    cargo_for(
        target,
        &["check", "--package", "tagwave", "--lib", "--no-default-features", "--features", features],
    )
}

/// The fuzz targets, without running them. Their driver is compiled from C++.
fn fuzz_targets() -> Result<Command, String> {
    if !has_program("c++") {
        return Err("no c++ on PATH".into());
    }
    let mut command = cargo(&["check", "--manifest-path", "fuzz/Cargo.toml"]);
    command.env("RUSTFLAGS", "--cfg fuzzing");
    Ok(command)
}
