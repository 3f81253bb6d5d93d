//! The examples run, and the game keeps drawing while it tags.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "small"))]

mod common;

use std::path::Path;
use std::process::Command;

/// Runs an example, which `cargo test` has built, and returns its output.
fn run(name: &str, arguments: &[&str]) -> String {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{}: run `cargo build --all-features --examples`", program.display());
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.ogg").to_string_lossy().into_owned()
}

/// The bound is for software drivers, whose device is the processor that the game runs on: a budget of 4 ms is exceeded by
/// the largest slices there.
#[test]
fn the_game_draws_while_it_tags() {
    if common::gpu().is_none() {
        return;
    }
    let output = run("game", &["--seconds", "8", "--max-ratio", "60"]);
    println!("{output}");
    let has_tags = |line: &str| line.split_once(" s  ").is_some_and(|(_, tags)| tags.contains(", "));
    assert!(output.lines().any(has_tags), "no tags came: {output}");
    assert!(output.contains("tagging  p50"), "{output}");
}

#[test]
fn a_device_is_shared() {
    if common::gpu().is_some() {
        println!("{}", run("share_device", &[&demo()]));
    }
}

#[test]
fn files_are_decoded() {
    assert!(!run("decode", &[&demo()]).is_empty());
}
