//! `cargo check` of the library for other systems: `cargo xtask targets`.
//!
//! A target is checked with its own standard library (`rustup target add TARGET`), else with one that is built from
//! source where the toolchain has it (`rustup component add rust-src`). The command line is left out: its TLS compiles C for
//! the target.

use std::path::PathBuf;
use std::process::Command;

use crate::{cargo, run};

const TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

pub fn check() -> Result<(), String> {
    let sysroot =
        Command::new("rustc").args(["--print", "sysroot"]).output().map_err(|error| error.to_string())?;
    let rustlib = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim()).join("lib/rustlib");
    let has_source = rustlib.join("src/rust/library/Cargo.toml").exists();
    for target in TARGETS {
        let mut command =
            cargo(&["check", "--lib", "--no-default-features", "--features", "small", "--target", target]);
        if !rustlib.join(target).join("lib").exists() {
            if !has_source {
                println!("not run: {target}: no standard library (rustup target add {target})");
                continue;
            }
            command.args(["-Z", "build-std"]).env("RUSTC_BOOTSTRAP", "1");
        }
        run(&mut command)?;
        println!("checked: {target}");
    }
    Ok(())
}
