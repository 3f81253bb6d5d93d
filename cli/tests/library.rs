//! The program on many files: folders, lists, shards, bounded memory.
//!
//! The model is compact_cnn of full size with seeded weights, on the CPU.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::command::word;
use common::library::{arguments, library, rows, sorted_lines};
use common::seeded;
use serde_json::Value;

#[test]
fn rows_are_never_lost_by_mistake() {
    let home = library(3);
    let run =
        |more: &[&'static str]| [arguments("tag", &["music", "-o", "t.jsonl", "-q"]), more.to_vec()].concat();
    home.ok(&run(&[]));
    let said = home.fails(2, &run(&[]));
    assert!(said.contains("--resume") && said.contains("--overwrite"), "{said}");
    // The key of a file depends on its content and on settings.
    home.ok(&run(&["--resume"]));
    assert_eq!(sorted_lines(&home.path("t.jsonl")).len(), 3);
    seeded::wav(&home.path("1.wav"), 0.5, 9);
    home.ok(&run(&["--resume"]));
    assert_eq!(sorted_lines(&home.path("t.jsonl")).len(), 4);
    home.ok(&run(&["--resume", "--top", "2"]));
    assert_eq!(sorted_lines(&home.path("t.jsonl")).len(), 7);
    // The last row of a repeated file is kept.
    home.ok(&["merge", "-o", "merged.jsonl", "t.jsonl"]);
    let merged = rows(&fs::read_to_string(home.path("merged.jsonl")).unwrap());
    assert_eq!(merged.len(), 3);
    assert!(merged.iter().all(|row| row["tags"].as_array().unwrap().len() == 2));
    let said = home.fails(2, &["merge", "-o", "merged.csv", "t.jsonl"]);
    assert!(said.contains("jsonl"), "{said}");
    let said = home.fails(1, &["merge", "-o", "merged.jsonl", "0.wav"]);
    assert!(said.contains("no row"), "{said}");
    assert_eq!(sorted_lines(&home.path("merged.jsonl")).len(), 3);
    home.ok(&run(&["--overwrite"]));
    assert_eq!(sorted_lines(&home.path("t.jsonl")).len(), 3);
}

#[test]
fn shards_and_their_merge_are_the_whole() {
    let home = library(30);
    fs::write(home.path("music/broken.mp3"), "no music").unwrap();
    for format in ["jsonl", "csv"] {
        let whole = home.path(&format!("whole.{format}"));
        home.run(&arguments("tag", &["music", "-o", word(&whole)]));
        let mut parts = Vec::new();
        for shard in ["0/3", "1/3", "2/3"] {
            let part = format!("part{}.{format}", &shard[..1]);
            let ended = home.run(&arguments("tag", &["music", "--shard", shard, "-o", &part]));
            assert!(matches!(ended.status.code(), Some(0 | 1)));
            parts.push(part);
        }
        let merged = home.path(&format!("merged.{format}"));
        let inputs: Vec<&str> = parts.iter().map(String::as_str).collect();
        home.ok(&[&["merge", "-o", word(&merged)][..], &inputs].concat());
        assert!(sorted_lines(&merged) == sorted_lines(&whole), "{format}");
        // A row that was cut short is left out.
        let text = fs::read_to_string(&whole).unwrap();
        fs::write(&whole, &text[..text.len() - 9]).unwrap();
        home.ok(&["merge", "-o", word(&merged), word(&whole), &parts[0], &parts[1], &parts[2]]);
        assert_eq!(sorted_lines(&merged).len(), text.lines().count(), "{format}");
    }
    home.fails(2, &arguments("tag", &["music", "--shard", "3/3"]));
}

#[test]
fn parts_of_arrays_are_one_array() {
    let home = library(8);
    home.ok(&arguments("embed", &["music", "-o", "one.npy", "-q"]));
    home.ok(&arguments("embed", &["--shard", "0/2", "music", "-o", "parts", "--format", "npy", "-q"]));
    let said = home.fails(2, &arguments("embed", &["music", "-o", "parts", "--format", "npy"]));
    assert!(said.contains("--resume"), "{said}");
    home.ok(&arguments("embed", &["music", "-o", "parts", "--format", "npy", "--resume", "-q"]));
    assert!(home.path("parts/part-00001.npy").exists());
    home.ok(&["merge", "-o", "joined.npy", "parts"]);
    let read = |name: &str| -> BTreeMap<String, Vec<u32>> {
        let bytes = fs::read(home.path(&format!("{name}.npy"))).unwrap();
        let array = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(array.shape()[0], 8);
        let values: Vec<f32> = array.into_vec().unwrap();
        let names = fs::read_to_string(home.path(&format!("{name}.paths.txt"))).unwrap();
        let rows =
            values.chunks(values.len() / 8).map(|row| row.iter().map(|value| value.to_bits()).collect());
        names.lines().map(String::from).zip(rows).collect()
    };
    assert_eq!(read("joined"), read("one"));
    home.fails(2, &arguments("embed", &["music", "-o", "one.npy", "--resume"]));
}

#[cfg(unix)]
#[test]
fn names_of_any_bytes_come_from_lists() {
    use std::ffi::OsString;
    use std::io::Write;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::process::Stdio;
    let home = library(0);
    let names: Vec<OsString> =
        [&b"new\nline.wav"[..], b"--help.wav", b"\xff\xfe.wav", b"comma,\"quote\".wav", b" .wav"]
            .into_iter()
            .map(|name| OsString::from_vec(name.to_vec()))
            .collect();
    for name in &names {
        fs::copy(home.path("0.wav"), home.0.path().join(name)).unwrap();
    }
    let list: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
    let mut child = home
        .command(&arguments("tag", &["--files-from", "-", "--format", "jsonl"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&list).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let rows = rows(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(rows.len(), names.len());
    assert_eq!(rows[0]["path"], "new\nline.wav");
    assert_eq!(rows[2]["path_bytes"], "//4ud2F2");
    assert!(rows.iter().all(|row| row["tags"].is_array()));
}

#[test]
fn lists_may_name_folders_and_be_empty() {
    let home = library(0);
    fs::create_dir(home.path("folder")).unwrap();
    fs::copy(home.path("0.wav"), home.path("folder/in.wav")).unwrap();
    fs::write(home.path("list"), "0.wav\nfolder\ngone.wav\n").unwrap();
    let output = home.run(&arguments("tag", &["--files-from", "list", "--format", "csv"]));
    assert_eq!(output.status.code(), Some(1));
    let paths: Vec<String> = csv::Reader::from_reader(&output.stdout[..])
        .records()
        .map(|record| record.unwrap()[0].to_string())
        .collect();
    let inside = Path::new("folder").join("in.wav");
    assert!(paths.iter().any(|path| Path::new(path) == inside) && paths.last().unwrap() == "gone.wav");
    fs::write(home.path("list"), "").unwrap();
    assert_eq!(home.ok(&arguments("tag", &["--files-from", "list"])), "");
    fs::create_dir(home.path("empty")).unwrap();
    assert!(home.fails(1, &arguments("tag", &["empty"])).contains("no audio files found"));
}

#[test]
fn progress_as_json() {
    let home = library(5);
    let output = home.run(&arguments(
        "tag",
        &["music", "no such.mp3", "--progress", "json", "--stats", "--format", "jsonl"],
    ));
    let said = String::from_utf8(output.stderr).unwrap();
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!((&last["done"], &last["failed"]), (&6.into(), &1.into()), "{said}");
    assert_eq!(last["failed_by_kind"]["input"], 1);
    assert!(last["stages_s"]["decode"].as_f64().unwrap() > 0.0);
    let kernels = last["kernels_s"].as_object().unwrap();
    assert!(kernels["log_mel"].as_f64().unwrap() > 0.0, "{said}");
    let output = home.run(&arguments("tag", &["music", "--quiet", "--format", "jsonl"]));
    assert!(output.stderr.is_empty());
    let output = home.run(&arguments("tag", &["music", "--stats", "--format", "jsonl"]));
    let said = String::from_utf8(output.stderr).unwrap();
    for word in ["5 tracks in", "tracks/s", "0 failed", "resample", "bottleneck"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn devices_share_the_work() {
    let home = library(20);
    let one = home.ok(&arguments("tag", &["music", "--batch", "2", "--format", "jsonl", "-q"]));
    let both = [
        "tag", "--model", "compact", "--device", "cpu,cpu", "music", "--batch", "2", "--format", "jsonl",
        "-q",
    ];
    assert_eq!(home.ok(&both), one);
    let said = home.fails(2, &["tag", "--model", "compact", "--device", "none", "music"]);
    assert!(said.contains("bench pipeline"), "{said}");
}

#[test]
fn other_formats_are_decoded_by_ffmpeg() {
    let home = library(0);
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=440:duration=3", "-c:a", "libopus"])
        .arg(home.path("-a b.opus"))
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return println!("not run: no ffmpeg that makes Opus");
    }
    let row = |more: &[&'static str], path: Option<&OsStr>| -> Value {
        let run =
            [arguments("tag", &["--format", "jsonl", "-q"]), more.to_vec(), vec!["--", "-a b.opus"]].concat();
        let mut command = home.command(&run);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        rows(&String::from_utf8(command.output().unwrap().stdout).unwrap()).remove(0)
    };
    let found = row(&[], None);
    assert_eq!(found["decoder"], "ffmpeg", "{found}");
    assert!((found["track_s"].as_f64().unwrap() - 3.0).abs() < 0.05);
    assert_eq!(row(&["--no-ffmpeg"], None)["error"]["kind"], "unsupported");
    let without = row(&[], Some(OsStr::new("/nonexistent")));
    assert_eq!(without["error"]["kind"], "unsupported");
    assert!(without["error"]["message"].as_str().unwrap().contains("no ffmpeg on PATH"), "{without}");
}

/// Peak resident memory of a process in MiB.
#[cfg(target_os = "linux")]
fn peak_mib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Decode only: with a model it would take minutes (docs/performance.md).
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_library() {
    use std::time::Duration;
    let home = library(10_000);
    let output = home.path("tags.jsonl");
    let decoding = ["bench", "pipeline", "--device", "none", "music"];
    let tagging = arguments("tag", &["music", "--shard", "3/20", "-q", "-o", word(&output)]);
    for (run, files) in [(&decoding[..], 10_000), (&tagging, 0)] {
        let mut child = common::library::spawn(&home, run);
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(peak_mib(child.id()).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(files == 0 || said.contains("10000 tracks (0 failed)"), "{said}");
        println!("at most {peak} MiB: {}", said.lines().next().unwrap_or("tagging"));
        assert!(peak > 0 && peak < 1024, "{peak} MiB");
    }
    let count = fs::read_to_string(&output).unwrap().lines().count();
    assert!((400..600).contains(&count), "{count} of 10000 files in one of 20 shards");
}
