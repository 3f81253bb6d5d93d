//! The program: rows, streams, exit codes.

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The program without settings of the user; the default model is `crnn`.
fn tagwave(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwave"));
    for variable in ["TAGWAVE_WEIGHTS", "TAGWAVE_DEVICE"] {
        command.env_remove(variable);
    }
    command.env("TAGWAVE_MODEL", "crnn");
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    tagwave(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_says_what_the_tool_is_for() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).starts_with("Music auto-tagging on GPU or CPU\n"));
    for command in ["tag", "embed", "devices", "models", "selftest"] {
        let help = run(&[command, "--help"]);
        assert!(help.status.success(), "{command}");
    }
    assert!(text(&run(&["tag", "--help"]).stdout).contains("usual threshold"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &["tag"][..],
        &["tag", "--top", "x", "a.mp3"],
        &["tag", "--threshold", "2", "a.mp3"],
        &["tag", "--top", "3", "--threshold", "0.5", "a.mp3"],
        &["tag", "--batch", "0", "a.mp3"],
        &["tag", "--model", "nothing", "a.mp3"],
        &["nothing"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let unknown = run(&["tag", "--model", "nothing", "a.mp3"]);
    assert!(text(&unknown.stderr).contains("crnn"), "{}", text(&unknown.stderr));
}

#[test]
fn missing_weights_say_which_and_how() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["tag", "--weights", folder.path().to_str().unwrap(), "a.mp3"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    for word in ["music_tagger_crnn_weights_theano.h5", "--weights", folder.path().to_str().unwrap()] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn no_driver_is_a_note_or_exit_code_3() {
    let Some(weights) = common::fixture("weights") else { return };
    let weights = weights.to_str().unwrap();
    // A driver list with nothing in it hides every Vulkan driver from the loader.
    let hidden = |arguments: &[&str]| {
        let mut command = tagwave(arguments);
        command.env("VK_DRIVER_FILES", "/nonexistent.json").env("VK_ICD_FILENAMES", "/nonexistent.json");
        command.output().unwrap()
    };
    let output = hidden(&["tag", "--device", "gpu", "--weights", weights, "a.mp3"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("install a Vulkan driver"), "{}", text(&output.stderr));
    let output = hidden(&["tag", "--weights", weights, "no such file.mp3"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).matches("running on the CPU").count(), 1, "{}", text(&output.stderr));
    assert!(hidden(&["devices"]).status.success());
}

#[test]
fn scores_that_depend_on_the_batch_have_a_command_of_their_own() {
    let (Some(weights), Some(mp3)) =
        (common::fixture("weights"), common::fixture("audio/bensound-thejazzpiano.mp3"))
    else {
        return;
    };
    let (weights, mp3) = (weights.to_str().unwrap(), mp3.to_str().unwrap());
    let tag =
        ["tag", "--model", "compact", "--compat", "original", "--device", "cpu", "--weights", weights, mp3];
    let output = run(&tag);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("tagwave reproduce"), "{}", text(&output.stderr));
    let reproduce = |device: &str, batch: &str, files: &[&str]| {
        let options = ["reproduce", "--device", device, "--weights", weights, "--batch", batch];
        run(&[&options, files].concat())
    };
    let output = reproduce("cpu", "1", &[mp3, "no such file.mp3"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let rows: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["compat"], rows[0]["tags"].as_array().unwrap().len()), (&"original".into(), 5));
    assert!(rows[0]["clip_start_s"].as_f64().unwrap() > 0.0);
    assert_eq!(rows[1]["error"]["kind"], "input");
    // The CPU runs one clip per batch.
    let output = reproduce("cpu", "2", &[mp3, mp3]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(reproduce("none", "1", &[mp3]).status.code(), Some(2));
}

#[test]
fn rows_are_json_and_errors_stay_in_their_row() {
    if common::gpu().is_none() {
        return;
    }
    let (Some(weights), Some(mp3)) =
        (common::fixture("weights"), common::fixture("audio/bensound-thejazzpiano.mp3"))
    else {
        return;
    };
    let mut command =
        tagwave(&["tag", "--device", "gpu", "--top", "2", "--weights", weights.to_str().unwrap()]);
    let output = command.arg(&mp3).args(["no such file.mp3", "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let rows: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["schema"], 2);
    assert_eq!(rows[0]["tags"].as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["tags"][0]["tag"], "jazz");
    assert_eq!(rows[1]["error"]["kind"], "input");
    assert_eq!(rows[2]["path"], "-");
    assert_eq!(rows[2]["error"]["kind"], "input");

    // The same file through a pipe, as features.
    let mut command = tagwave(&["embed", "--weights", weights.to_str().unwrap(), "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&mp3).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["embedding"].as_array().unwrap().len(), 32);
}

/// If most files fail, the summary has the most frequent reason; files left out of folders are counted.
#[test]
fn a_batch_that_mostly_fails_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("...And Justice for All")).unwrap();
    for name in ["a.mp3", "b.mp3", "c.mp3", "...And Justice for All/d.mp3", "film.mkv"] {
        std::fs::write(folder.path().join(name), "this is text, and no music at all").unwrap();
    }
    let folder = folder.path().to_str().unwrap();
    let arguments = ["tag", "--model", "small", "--device", "cpu", "--no-ffmpeg", folder];
    let output = tagwave(&arguments).env_remove("XDG_RUNTIME_DIR").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3 of 3 files failed, 3 of them with: not a known audio format"), "{said}");
    assert!(said.contains("1 hidden (...And Justice for All; include with --hidden)"), "{said}");
    assert!(said.contains("1 video file (include with --video)"), "{said}");
    assert!(!said.contains("XDG_RUNTIME_DIR"), "{said}");
}

#[cfg(unix)]
#[test]
fn the_driver_is_silent_without_a_runtime_folder() {
    let output = tagwave(&["devices"]).env_remove("XDG_RUNTIME_DIR").output().unwrap();
    assert!(output.status.success());
    assert!(!text(&output.stderr).contains("XDG_RUNTIME_DIR"), "{}", text(&output.stderr));
}
