//! Tests of the program for Windows: `cargo xtask windows [ARGUMENTS of cargo test]`, on Windows or under Wine.
//!
//! Elsewhere than on Windows it needs Wine, MinGW's compiler and the target's standard library. Another runner than Wine
//! is taken from cargo's own variable.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::targets::{WINDOWS, cargo_for, has_program};
use crate::{root, run, target_folder};

const COMPILER: &str = "x86_64-w64-mingw32-gcc";
const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";
/// Programs of Wine, by preference: the first one needs no 32-bit parts.
const WINE: [&str; 3] = ["/usr/lib/wine/wine64", "wine64", "wine"];

/// Source of the library for random numbers that Rust's standard library loads and Wine before version 9 lacks.
const RANDOM: &str = "\
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
";

pub fn test(arguments: &[String]) -> Result<(), String> {
    let cases = ["test", "-p", "tagwave-cli", "--all-features", "--no-fail-fast"];
    let missing = |missing| format!("cargo xtask windows: {missing}");
    let mut command = cargo_for(WINDOWS, &cases).map_err(missing)?;
    if !cfg!(windows) {
        if !has_program(COMPILER) {
            return Err(missing(format!("no {COMPILER} on PATH (Debian: gcc-mingw-w64-x86-64)")));
        }
        if env::var_os(RUNNER).is_none() {
            let wine = WINE.into_iter().find(|wine| has_program(wine));
            let none = || missing(format!("no wine on PATH (Debian: wine64), and {RUNNER} is not set"));
            command.env(RUNNER, wine.ok_or_else(none)?);
        }
        under_wine(&mut command, &target_folder().join("wine"))?;
    }
    run(command.args(arguments))
}

/// Settings of Wine, which other runners ignore: its own folder in place of the user's, and no messages.
fn under_wine(command: &mut Command, folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let source = folder.join("random.c");
    fs::write(&source, RANDOM).map_err(failed)?;
    let library = folder.join("bcryptprimitives.dll");
    run(Command::new(COMPILER).arg("-shared").arg("-o").arg(&library).arg(&source).arg("-ladvapi32"))?;
    let defaults = [("WINEPREFIX", folder.join("prefix")), ("WINEDEBUG", PathBuf::from("-all"))];
    for (name, value) in defaults {
        if env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    command.env("WINEPATH", folder).current_dir(root());
    Ok(())
}
