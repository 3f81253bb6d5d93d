//! Commands for development; run `cargo xtask` for the list.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

mod emulate;
mod fuzz;
mod gstreamer;
mod kernels;
mod limited;
mod matrix;
mod pcm;
mod python;
mod soak;
mod targets;
mod tuning;
mod web;
mod windows;

const USAGE: &str = "\
usage: cargo xtask COMMAND [ARGUMENTS]

  check     format, clippy, docs, shader contracts, layering and wording; needs no GPU
  test      all tests, on the best adapter (including software Vulkan drivers)
  test-gpu  kernel and model tests on the adapter named by TAGWAVE_TEST_ADAPTER
  tuning    regenerates the built-in tuning table from the records in benches/records
  golden    regenerates the golden files that need only Python 3 with NumPy
  scores    tags a folder of music with every model on the CPU and the best adapter, and compares the digests of the
            scores with tests/golden/scores.txt; ARGUMENTS: FOLDER [--write]. Weights other than those of `small`
            are found below $TAGWAVE_FIXTURES/weights
  mp3-scores  encodes music below $TAGWAVE_FIXTURES with 48 settings of ffmpeg and lame, and compares the scores of every
            model with those of full decoding; ARGUMENTS: [FOLDER] of MP3s to tag instead
  matrix    tags a folder of valid and damaged files and compares with its manifest; ARGUMENTS: DIR [DEVICE...]
  compare-decoders  compares the built-in decoders with ffmpeg; ARGUMENTS: DIR...
  fuzz      runs one fuzz target, or all; ARGUMENTS: TARGET|all SECONDS
  targets   cargo check of the library for Windows and macOS and of the fuzz targets, as far as they can be built here
  gstreamer tests of the GStreamer element, also part of `test`; ARGUMENTS: those of cargo test
  python    tests of the Python package, also part of `test`; ARGUMENTS: those of pytest
  emulate   tests of the CPU executor on x86-64 without AVX2 and on aarch64, under QEMU
  kernels   compiles every kernel; with a wrapper that runs a program on the driver of a chip (WRAPPER MAKER CHIP PROGRAM...)
            writes what its compiler states and a model of the time to benches/records/compiled; ARGUMENTS:
            [WRAPPER [CHIP...]], or `compare`, which ranks the model against the measured records
  web       builds the package and the page for browsers into web/dist; ARGUMENTS: --serve to serve it on loopback, or
            --test for its tests in Chromium, also part of `test`
  windows   tests of the program for Windows, under Wine or on Windows; ARGUMENTS: those of cargo test
  soak      tags many files in one process and measures memory and open files; ARGUMENTS: [FILES]";

/// Packages that are built and tested together: another choice has other features of dependencies, which are then built
/// again.
const PACKAGES: [&str; 6] = ["-p", "tagwave", "-p", "tagwave-cli", "-p", "tagwave-capi"];

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("check") => check(),
        Some("test") => test(rest),
        Some("test-gpu") => test(&["--test".into(), "kernels".into(), "--test".into(), "models".into()]),
        Some("tuning") => tuning(),
        Some("golden") => golden(),
        Some("matrix") => built("tagwave").and_then(|tagwave| matrix::run(&tagwave, rest)),
        Some("compare-decoders") => built("examples/decode").and_then(|decode| pcm::compare(&decode, rest)),
        Some("fuzz") => fuzz::run(rest),
        Some("targets") => targets::check(),
        Some("gstreamer") => gstreamer::test(rest),
        Some("web") => web::run_command(rest),
        Some("python") => python::test(rest),
        Some("emulate") => emulate::test(),
        Some("windows") => windows::test(rest),
        Some("soak") => built("tagwave").and_then(|tagwave| soak::run(&tagwave, rest)),
        Some("scores") => scores(rest),
        Some("mp3-scores") => mp3_scores(rest),
        Some("kernels") => {
            let records = root().join("benches/records");
            match rest {
                [word] if word == "compare" => kernels::compare(&records),
                _ => built("tagwave")
                    .and_then(|tagwave| kernels::run(&tagwave, rest, &records.join("compiled"))),
            }
        }
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // `cargo xtask` describes this package to its children, for which build scripts of dependencies would run again.
    let is_of_package =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
    // Mesa's software driver prints errors without a runtime folder.
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", env::temp_dir());
    }
    command
}

fn run(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("failed: {command:?}")) }
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds everything that runs, and returns the path of one program.
fn built(name: &str) -> Result<PathBuf, String> {
    run(cargo(&["build", "--quiet", "--all-features", "--bins", "--examples"]).args(PACKAGES))?;
    Ok(target_folder().join("debug").join(name).with_extension(env::consts::EXE_EXTENSION))
}

/// Features of the library that are checked without the others: each alone, none, and what an engine with its own
/// decoder and device takes.
const FEATURES: [&str; 9] =
    ["", "cpu", "decode", "gpu", "keras", "small", "webgpu", "gpu,small", "cpu,decode,gpu,keras,small"];

fn check() -> Outcome {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-features", "--all-targets", "--", "-D", "warnings"]))?;
    for features in FEATURES {
        let library = ["clippy", "-p", "tagwave", "--lib", "--no-default-features", "--features", features];
        run(&mut cargo(&[&library[..], &["--", "-D", "warnings"]].concat()))?;
    }
    // Bindings see the stable API only: without the program, nothing switches `unstable` on.
    run(&mut cargo(&["clippy", "-p", "tagwave-capi", "--lib", "--", "-D", "warnings"]))?;
    // Tests without the features that they need are left out, not broken.
    let tests = ["clippy", "-p", "tagwave", "--tests", "--no-default-features", "--features", "cpu,small"];
    run(&mut cargo(&[&tests[..], &["--", "-D", "warnings"]].concat()))?;
    run(cargo(&["doc", "--no-deps", "--lib", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    gstreamer::check()?;
    python::check()?;
    web::check()?;
    // The package without the rest of the workspace.
    run(&mut cargo(&["package", "--package", "tagwave", "--allow-dirty", "--quiet"]))?;
    // With the packages of `cargo xtask test`, so that nothing is built for other features.
    let sources = ["shaders", "layering", "words", "cycles"].into_iter().flat_map(|name| ["--test", name]);
    run(cargo(&["test", "--all-features"]).args(PACKAGES).args(sources))?;
    deny()
}

/// Licences and sources of the dependencies, where cargo-deny is installed; known vulnerabilities need a database that
/// may be out of reach.
fn deny() -> Outcome {
    let version = cargo(&["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("not run: cargo deny check (cargo install cargo-deny --locked)");
        return Ok(());
    }
    run(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    if run(&mut cargo(&["deny", "fetch", "db"])).is_err() {
        println!("not run: cargo deny check advisories: their database cannot be fetched");
        return Ok(());
    }
    run(&mut cargo(&["deny", "check", "advisories"]))
}

/// Runs the tests, prints their output, and counts skipped tests.
fn test(filter: &[String]) -> Outcome {
    run(&mut cargo(&["build", "--quiet", "--all-features"]))?;
    let devices = cargo(&["run", "--quiet", "--all-features", "--", "devices"])
        .output()
        .map_err(|error| error.to_string())?;
    let first = String::from_utf8_lossy(&devices.stdout);
    println!("adapter: {}", first.lines().next().unwrap_or("none"));

    let mut command = cargo(&["test", "--all-features"]);
    command.args(PACKAGES).args(filter).args(["--", "--nocapture"]).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let (mut not_run, mut skipped) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            not_run += usize::from(line.contains("not run: "));
            skipped += usize::from(line.contains("skipped: no adapter"));
            println!("{line}");
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    println!("not run without fixtures: {not_run}; skipped without an adapter: {skipped}");
    if !status.success() {
        return Err("some tests failed".into());
    }
    // Packages of their own, which the filter does not know.
    if !filter.is_empty() {
        return Ok(());
    }
    gstreamer::test(&[])?;
    python::test(&[])?;
    web::test(&[])
}

/// Writes `src/kernels/tuning.txt`.
fn tuning() -> Outcome {
    let read =
        |file: &PathBuf| fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    let folder = root().join("benches/records");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    // File names begin with a date.
    files.sort();
    let records: Vec<String> = files.iter().map(read).collect::<Result<_, _>>()?;
    let folder = folder.join("compiled");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let compiled = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok::<_, String>((name.split('-').next().unwrap_or_default().to_string(), read(file)?))
    };
    let compiled = files.iter().map(compiled).collect::<Result<Vec<_>, _>>()?;
    let table = root().join("src/kernels/tuning.txt");
    fs::write(&table, tuning::table(&records, &compiled))
        .map_err(|error| format!("{}: {error}", table.display()))
}

/// Compares the digests of scores over a folder of music, or writes them with `--write`.
fn scores(arguments: &[String]) -> Outcome {
    let (folder, write) = match arguments {
        [folder] => (folder, false),
        [folder, flag] if flag == "--write" => (folder, true),
        _ => return Err("usage: cargo xtask scores FOLDER [--write]".into()),
    };
    let folder = fs::canonicalize(folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut command = scores_test("scores_have_the_committed_digests");
    command.env("TAGWAVE_SCORES_FOLDER", folder);
    if write {
        command.env("TAGWAVE_SCORES_WRITE", "1");
    }
    run(&mut command)
}

/// Compares the scores of MP3s decoded as the models hear them with those of full decoding.
fn mp3_scores(arguments: &[String]) -> Outcome {
    let mut command = scores_test("heard_mp3_has_the_scores_of_full_decoding");
    match arguments {
        [] => {}
        [folder] => {
            let folder = fs::canonicalize(folder).map_err(|error| format!("{folder}: {error}"))?;
            command.env("TAGWAVE_MP3_FOLDER", folder);
        }
        _ => return Err("usage: cargo xtask mp3-scores [FOLDER]".into()),
    }
    run(&mut command)
}

/// One of the ignored tests of `tests/scores.rs`.
fn scores_test(name: &str) -> Command {
    let mut command = cargo(&["test", "--all-features"]);
    command.args(PACKAGES).args(["--test", "scores", "--", "--ignored", "--nocapture", name]);
    command
}

fn golden() -> Outcome {
    for script in ["evaluation/make.py", "frontend/make.py", "models/make.py", "pca/make.py"] {
        run(Command::new("python3").arg(root().join("tests/golden").join(script)))?;
    }
    Ok(())
}
