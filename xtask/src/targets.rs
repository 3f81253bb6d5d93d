//! Other systems: `cargo check` of the library for them (`cargo xtask targets`), and cargo commands for a target.
//!
//! A target is built with its own standard library (`rustup target add TARGET`), else with one that is built from source
//! where the toolchain has it (`rustup component add rust-src`).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{cargo, run};

const TARGETS: [&str; 2] = [WINDOWS, "aarch64-apple-darwin"];
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

/// The command line is left out: its TLS compiles C for the target.
pub fn check() -> Result<(), String> {
    for target in TARGETS {
        match cargo_for(target, &["check", "--lib", "--no-default-features", "--features", "small"]) {
            Ok(mut command) => {
                run(&mut command)?;
                println!("checked: {target}");
            }
            Err(missing) => println!("not run: {missing}"),
        }
    }
    Ok(())
}
