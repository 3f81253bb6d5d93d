//! `tagwave listen`: live audio from a pipe.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::command::Home;
use serde_json::Value;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.ogg")
}

/// Runs `tagwave listen` on the CPU with `input` on its standard input.
fn listen(home: &Home, arguments: &[&str], input: &[u8]) -> Output {
    let all = [&["listen", "--device", "cpu", "--model", "small"], arguments].concat();
    let mut command = home.command(&all);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that refuses its input closes the pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn rows(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A chord of `seconds` at 8 kHz as 16-bit integers.
fn chord(seconds: usize) -> Vec<u8> {
    let sample = |n: usize| (6000.0 * ((n as f64 * 0.35).sin() + (n as f64 * 0.44).sin())) as i16;
    (0..8_000 * seconds).flat_map(|n| sample(n).to_le_bytes()).collect()
}

#[test]
fn a_container_from_a_pipe_is_tagged_at_every_hop() {
    let home = Home::new();
    let output = listen(&home, &["--hop", "4", "--top", "2"], &std::fs::read(demo()).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = rows(&output);
    // 32 seconds.
    assert_eq!(rows.len(), 8);
    assert_eq!((&rows[0]["end_s"], &rows[0]["heard_s"]), (&4.0.into(), &4.0.into()));
    let last = rows.last().unwrap();
    assert_eq!((&last["start_s"], &last["end_s"]), (&2.88.into(), &32.0.into()));
    assert_eq!(last["tags"].as_array().unwrap().len(), 2);
    assert_eq!(last["tags"][0]["tag"], "electronic");
    assert_eq!(
        (&last["schema"], &last["model"], &last["silent"]),
        (&2.into(), &"small".into(), &false.into())
    );
}

#[test]
fn raw_samples_of_both_types_are_the_same_audio() {
    let home = Home::new();
    let integers = chord(3);
    let floats: Vec<u8> = integers
        .as_chunks::<2>()
        .0
        .iter()
        .flat_map(|&word| (f32::from(i16::from_le_bytes(word)) / 32_768.0).to_le_bytes())
        .collect();
    let raw = |kind: &str, input: &[u8]| {
        let output = listen(&home, &["--raw", kind, "--rate", "8000", "--channels", "1"], input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rows(&output)
    };
    let found = raw("s16", &integers);
    assert_eq!(found.len(), 3);
    assert_eq!(found, raw("f32", &floats));
    // A recorder that was stopped within a sample.
    assert_eq!(raw("s16", &integers[..integers.len() - 1]).len(), 3);
    let text = listen(
        &home,
        &["--raw", "s16", "--rate", "8000", "--channels", "1", "--format", "text", "--threshold", "1"],
        &integers,
    );
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.lines().next(), Some("     1.0 s  no tag reaches the threshold"));
}

#[test]
fn wrong_input_is_an_error_that_says_what_to_do() {
    let home = Home::new();
    for (arguments, input, code, message) in [
        (
            &[][..],
            &b"no audio at all, in no format"[..],
            1,
            "raw samples with --raw s16 --rate 44100 --channels 2",
        ),
        (&["--raw", "s16"], b"", 2, "--rate"),
        (&["--rate", "44100"], b"", 2, "--raw"),
        (
            &["--raw", "s16", "--rate", "8", "--channels", "1"],
            b"",
            1,
            "sample rate 8 Hz, expected 1000 to 768000 Hz",
        ),
        (&["--raw", "s16", "--rate", "8000", "--channels", "0"], b"", 1, "channels is 0, expected 1 to 64"),
        (&["--hop", "0", "--raw", "s16", "--rate", "8000", "--channels", "1"], b"", 1, "hop is 0 s"),
    ] {
        let output = listen(&home, arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
}
