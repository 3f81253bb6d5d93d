//! Fuzzing: `cargo xtask fuzz TARGET SECONDS`. Needs cargo-fuzz (`cargo install cargo-fuzz`); runs on stable Rust, without
//! a sanitizer: the project has no unsafe code of its own in its parsers.

use std::process::Command;

use crate::root;

const TARGETS: [&str; 10] = [
    "decode",
    "frame_index",
    "mp3",
    "keras",
    "safetensors",
    "contract",
    "journal",
    "lists",
    "condition",
    "write_journal",
];
/// Longest time for one input, in seconds, and most memory, in MiB.
const LIMITS: [&str; 3] = ["-timeout=30", "-rss_limit_mb=3072", "-max_len=131072"];

fn run_targets(targets: &[&str], seconds: u64) -> Result<(), String> {
    crate::run(&mut Command::new(root().join("fuzz/seeds.sh")))?;
    for target in targets {
        let mut command = Command::new("cargo");
        command.current_dir(root().join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
        command.args(["fuzz", "run", "--sanitizer", "none", target, "--"]).args(LIMITS);
        crate::run(command.arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}

pub fn run(arguments: &[String]) -> Result<(), String> {
    let usage =
        || format!("usage: cargo xtask fuzz TARGET|all SECONDS, TARGET one of {}", TARGETS.join(", "));
    let [target, seconds] = arguments else { return Err(usage()) };
    let seconds = seconds.parse().map_err(|_| usage())?;
    match TARGETS.iter().find(|known| *known == target) {
        Some(target) => run_targets(&[target], seconds),
        None if target == "all" => run_targets(&TARGETS, seconds),
        None => Err(usage()),
    }
}
