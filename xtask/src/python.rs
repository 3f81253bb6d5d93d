//! Checks and tests of the Python package, which is a package of its own.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, built, cargo, root, run, target_folder};

/// Checks the version of Python, and that environments can be made.
const PROBE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

/// Format, versions and clippy.
pub fn check() -> Outcome {
    run(package("fmt").arg("--check"))?;
    check_versions()?;
    if !has_python()? {
        return Ok(());
    }
    run(package("clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

/// Installs the package into an environment below the target folder, and runs pytest.
pub fn test(arguments: &[String]) -> Outcome {
    if !has_python()? {
        return Ok(());
    }
    let folder = target_folder().join("python");
    let python = interpreter(&folder);
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    if let Err(reason) = run(pip(&python).arg("maturin>=1.14,<2")) {
        return missing(&format!("maturin cannot be installed: {reason}")).map(drop);
    }
    let program = built("tagwave")?;
    // The profile of the other tests. Its own environment, so that it is not built for a temporary one each time.
    let mut install = pip(&python);
    install.args(["--no-build-isolation", "--config-settings", "build-args=--profile=dev"]);
    run(install.arg("./python[arrow,plot,test]").env("CARGO_TARGET_DIR", target_folder()))?;
    let mut pytest = Command::new(&python);
    pytest.args(["-m", "pytest", "-q", "python"]).args(arguments);
    run(pytest.current_dir(root()).env("TAGWAVE_PROGRAM", program))
}

/// Checks that the package is built of the same versions as the workspace: its results have the bits of the program's, and its
/// dependencies are not built twice.
fn check_versions() -> Outcome {
    let [workspace, package] = [versions("Cargo.lock")?, versions("python/Cargo.lock")?];
    let is_shared = |name: &str| workspace.iter().any(|(other, _)| other == name);
    // A dependency of the bindings may need a second version.
    let is_same = |name: &str| package.iter().any(|found| found.0 == name && workspace.contains(found));
    let differ = |found: &&(String, String)| is_shared(&found.0) && !is_same(&found.0);
    match package.iter().find(differ) {
        None => Ok(()),
        Some((name, version)) => Err(format!(
            "python/Cargo.lock has {name} {version}, Cargo.lock another version: copy Cargo.lock there, and run cargo check"
        )),
    }
}

/// Names and versions of the packages in a lock file.
fn versions(file: &str) -> Result<BTreeSet<(String, String)>, String> {
    let text = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    let value = |line: &str, key: &str| {
        line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_string)
    };
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines
        .windows(2)
        .filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?)))
        .collect())
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    // The programs of the environment, of which maturin is one.
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = python.parent().map(Path::to_path_buf).into_iter().chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.current_dir(root());
    command
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

fn package(command: &str) -> Command {
    let mut command = cargo(&[command, "--manifest-path", "python/Cargo.toml"]);
    // As maturin sets it; another value builds the bindings again.
    command.env("CARGO_TARGET_DIR", target_folder()).env("PYO3_BUILD_EXTENSION_MODULE", "1");
    command
}

/// True if there is a Python to build for; under `REQUIRE_PYTHON` there must be.
fn has_python() -> Result<bool, String> {
    let mut probe = Command::new("python3");
    probe.args(["-c", PROBE]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(true);
    }
    missing("no Python 3.10 with environments (Debian: python3-venv)")
}

/// False, and the reason why the tests do not run; under `REQUIRE_PYTHON` an error.
fn missing(reason: &str) -> Result<bool, String> {
    if env::var_os("REQUIRE_PYTHON").is_some() {
        return Err(format!("REQUIRE_PYTHON is set: {reason}"));
    }
    println!("not run: python: {reason}");
    Ok(false)
}
