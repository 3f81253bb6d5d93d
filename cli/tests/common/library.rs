//! A library of short tracks for the program, on the CPU with a model of full size and seeded weights.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::command::Home;
use super::seeded;

/// Makes a home with weights and `count` links to a few short tracks in `music`.
pub fn library(count: usize) -> Home {
    let home = Home::new();
    seeded::export("compact", &home.store());
    for kind in 0..3 {
        seeded::wav(&home.path(&format!("{kind}.wav")), 0.2 + 0.1 * f64::from(kind), kind);
    }
    fs::create_dir(home.path("music")).unwrap();
    for index in 0..count {
        let link = home.path(&format!("music/{index:05}.wav"));
        fs::hard_link(home.path(&format!("{}.wav", index % 3)), link).unwrap();
    }
    home
}

/// Options of all runs.
pub const MODEL: [&str; 4] = ["--device", "cpu", "--model", "compact"];

/// A command with the options of all runs.
pub fn arguments<'a>(command: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], &MODEL, rest].concat()
}

/// Rows of a file in JSON Lines.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
}

/// Lines of a file, whose order depends on the device threads.
pub fn sorted_lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(String::from).collect();
    lines.sort();
    lines
}

/// Starts the program.
pub fn spawn(home: &Home, arguments: &[&str]) -> Child {
    home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
