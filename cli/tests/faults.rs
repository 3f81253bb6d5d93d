//! Signals, full and read-only disks, two processes on one output: nothing that was finished is lost.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use common::command::{Home, word};
use common::library::{arguments, library, rows, sorted_lines, spawn};
use common::seeded;

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{name}");
}

/// Waits until `path` has bytes, or exists if `is_empty`.
fn wait_for(path: &Path, is_empty: bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !fs::metadata(path).is_ok_and(|found| is_empty || found.len() > 0) {
        assert!(Instant::now() < end, "{} was not written", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupted_run_reports_and_resumes() {
    let home = library(150);
    home.ok(&arguments("tag", &["music", "-q", "-o", "clean.jsonl"]));
    let clean = sorted_lines(&home.path("clean.jsonl"));
    for name in ["INT", "TERM"] {
        let output = home.path(&format!("{name}.jsonl"));
        let run = arguments("tag", &["music", "--batch", "2", "-o", word(&output), "--resume"]);
        let child = spawn(&home, &run);
        wait_for(&output, false);
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(130), "{said}");
        assert!(said.contains("interrupted after"), "{said}");
        let before = rows(&fs::read_to_string(&output).unwrap()).len();
        assert!(before > 0 && before < 150, "{name}: {before} rows");
        let resumed = home.run(&run);
        let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
        assert!(resumed.status.success() && said.contains(&format!("{before} done before")), "{said}");
        assert!(sorted_lines(&output) == clean, "{name}: other rows than those of a whole run");
    }
}

/// Rows of an array by their paths, as bits.
fn array(home: &Home, name: &str) -> BTreeMap<String, Vec<u32>> {
    let bytes = fs::read(home.path(&format!("{name}.npy"))).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let columns = file.shape()[1] as usize;
    let values: Vec<f32> = file.into_vec().unwrap();
    let names = fs::read_to_string(home.path(&format!("{name}.paths.txt"))).unwrap();
    let rows = values.chunks(columns).map(|row| row.iter().map(|value| value.to_bits()).collect());
    assert_eq!(names.lines().count(), rows.len());
    names.lines().map(String::from).zip(rows).collect()
}

#[test]
fn interrupted_parts_are_kept_and_resumed() {
    let home = library(100);
    home.ok(&arguments("embed", &["music", "-q", "-o", "clean.npy"]));
    for name in ["INT", "TERM"] {
        let run = arguments("embed", &["music", "--batch", "2", "--format", "npy", "-o", name, "--resume"]);
        let child = spawn(&home, &run);
        wait_for(&home.path(&format!("{name}/_lock")), true);
        // The first part is a temporary file until it is finished.
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
        home.ok(&run);
        home.ok(&["merge", "-o", &format!("{name}.npy"), name]);
        assert!(array(&home, name) == array(&home, "clean"), "{name}");
    }
}

#[test]
fn a_second_process_does_not_write_to_the_same_output() {
    let home = library(60);
    // A run writes rows, a folder of parts, or one file at its end.
    let outputs = [
        (vec!["tag", "-o", "rows.jsonl"], "rows.jsonl"),
        (vec!["embed", "--format", "npy", "-o", "parts"], "parts/_lock"),
        (vec!["embed", "-o", "one.npy"], ".one.npy.lock"),
    ];
    for (command, written) in outputs {
        let run = |more: &[&'static str]| {
            [arguments(command[0], &["music", "--batch", "2", "-q"]), command[1..].to_vec(), more.to_vec()]
                .concat()
        };
        let child = spawn(&home, &run(&[]));
        wait_for(&home.path(written), written != "rows.jsonl");
        // Stopped in the middle of its work.
        signal(&child, "STOP");
        let ways: &[&str] =
            if command.contains(&"one.npy") { &["--overwrite"] } else { &["--resume", "--overwrite"] };
        let said: Vec<String> = ways
            .iter()
            .map(|&way| {
                let output = home.run(&run(&[way]));
                format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stderr))
            })
            .collect();
        signal(&child, "CONT");
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{written}: {}", String::from_utf8_lossy(&ended.stderr));
        for said in said {
            let is_clear =
                said.starts_with("Some(1)") && said.contains("another process is writing to this output");
            assert!(is_clear && said.contains(command[command.len() - 1]), "{written}: {said}");
        }
    }
    assert_eq!(rows(&fs::read_to_string(home.path("rows.jsonl")).unwrap()).len(), 60);
    home.ok(&["merge", "-o", "joined.npy", "parts"]);
    assert_eq!(array(&home, "one").len(), 60);
    assert!(array(&home, "joined") == array(&home, "one"));
    assert!(!home.path("parts/_lock").exists() && !home.path(".one.npy.lock").exists());
}

/// The program with a limit of the file size in kilobytes; the signal of the limit is ignored.
fn limited(home: &Home, kilobytes: u32, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", 2 * kilobytes);
    let inner = home.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(home.0.path()).output().unwrap()
}

#[test]
fn a_full_disk_stops_with_whole_rows() {
    let home = library(40);
    for format in ["jsonl", "csv"] {
        let output = home.path(&format!("tags.{format}"));
        let run = arguments("tag", &["music", "-o", word(&output), "--resume"]);
        let ended = limited(&home, 10, &run);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write the results") && said.contains("tags."), "{said}");
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.ends_with('\n') && text.len() > 5_000, "{}", text.len());
        home.ok(&run);
        let clean = home.path(&format!("clean.{format}"));
        home.ok(&arguments("tag", &["music", "-o", word(&clean)]));
        assert!(sorted_lines(&output) == sorted_lines(&clean));
    }
    // A device that is always full: an error, no panic, no journal beside it.
    let said = home.fails(1, &arguments("tag", &["0.wav", "-o", "/dev/full"]));
    assert!(said.contains("cannot write"), "{said}");
    assert!(!Path::new("/dev/full.journal").exists());
}

#[test]
fn a_full_disk_leaves_older_arrays_as_they_were() {
    let home = library(40);
    for (output, format) in [("one.npy", "npy"), ("parts", "npy")] {
        let run = arguments("embed", &["music", "-q", "--format", format, "-o", output]);
        home.ok(&run);
        let read = || match output {
            "parts" => (
                fs::read(home.path("parts/part-00000.npy")),
                fs::read_dir(home.path("parts")).unwrap().count(),
            ),
            _ => (fs::read(home.path(output)), 0),
        };
        let before = read();
        let more: &[&str] = if output == "parts" { &["--resume"] } else { &["--overwrite"] };
        for kind in 0..3 {
            seeded::wav(&home.path(&format!("{kind}.wav")), 0.5, 5 + kind);
        }
        // 160 values for each of 40 files are 25 kB.
        let ended = limited(&home, 10, &[&run[..], more].concat());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write the results"), "{said}");
        let after = read();
        assert!(before.0.unwrap() == after.0.unwrap() && before.1 == after.1, "{output}: {said}");
    }
    let left = fs::read_dir(home.0.path()).unwrap().flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".part") || name.ends_with(".lock")
    });
    assert_eq!(left.count(), 0, "temporary files were left");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = library(2);
    // Not even root writes there.
    let folder = Path::new("/proc/self");
    if !folder.is_dir() {
        return println!("not run: no read-only folder");
    }
    for (command, name) in [("tag", "rows.jsonl"), ("tag", "rows.csv"), ("embed", "one.npy")] {
        let output = folder.join(name);
        let said = home.fails(1, &arguments(command, &["music", "-q", "-o", word(&output)]));
        assert!(said.contains("cannot write the results") && said.contains(name), "{said}");
    }
    let parts = folder.join("parts");
    let said = home.fails(1, &arguments("embed", &["music", "-q", "--format", "npy", "-o", word(&parts)]));
    assert!(said.contains("cannot write the results") && said.contains("parts"), "{said}");
}

/// An `ffmpeg` that is killed or stopped half-way: what it has decoded until then is not taken for the track.
#[test]
fn a_track_whose_ffmpeg_is_interrupted_is_read_again() {
    let home = library(0);
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=440:duration=20", "-c:a", "libopus"])
        .arg(home.path("a.opus"))
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return println!("not run: no ffmpeg that makes Opus");
    }
    fs::create_dir(home.path("programs")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = arguments("tag", &["a.opus", "-o", "rows.jsonl", "--resume"]);
    let tag = |programs: &str| home.command(&run).env("PATH", programs).output().unwrap();
    let last = || rows(&fs::read_to_string(home.path("rows.jsonl")).unwrap()).pop().unwrap();
    for end in ["kill -KILL $$", "exit 255"] {
        // A program of its own group, which Ctrl-C in a terminal does not reach.
        let script = format!(
            "#!/bin/sh\ncut -d' ' -f5 /proc/$$/stat >group; echo $$ >process\n\
             PATH='{path}' ffmpeg \"$@\" | head -c 2000000\n{end}\n"
        );
        let program = home.path("programs/ffmpeg");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let ended = tag(&format!("{}:{path}", word(&home.path("programs"))));
        assert_eq!(ended.status.code(), Some(1), "{end}");
        assert_eq!(last()["error"]["kind"], "resource", "{end}: {}", last());
        assert!(last()["error"]["message"].as_str().unwrap().contains("interrupted"), "{end}: {}", last());
        if cfg!(target_os = "linux") {
            let read = |name: &str| fs::read_to_string(home.path(name)).unwrap();
            assert_eq!(read("group"), read("process"));
        }
    }
    assert!(tag(&path).status.success());
    assert!((last()["track_s"].as_f64().unwrap() - 20.0).abs() < 0.05, "{}", last());
}
