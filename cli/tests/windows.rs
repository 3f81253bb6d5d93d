//! Names, lists and locks of Windows, and a process without a console; `cargo xtask windows` runs them.
#![cfg(windows)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::command::{Home, word};
use common::in_repository;
use common::library::{arguments, library, rows, sorted_lines};
use serde_json::Value;

/// Names that need care in some program or other.
const NAMES: [&str; 10] = [
    "plain.wav",
    "two words.wav",
    "Motörhead – Überraschung.wav",
    "Пикник.wav",
    "久石譲.wav",
    "e\u{301} in two parts.wav",
    "🎵.wav",
    "100% & ^ ! 'x' (1) [2] {3};=,.wav",
    "-dash.wav",
    "many...dots.wav",
];

/// Rows of a run by their paths; every file must have tags.
fn tagged(home: &Home, rest: &[&str]) -> BTreeMap<String, Value> {
    let run = [arguments("tag", &["--format", "jsonl", "-q", "--"]), rest.to_vec()].concat();
    let found = rows(&home.ok(&run)).into_iter();
    found.map(|row| (row["path"].as_str().unwrap().to_string(), row["tags"].clone())).collect()
}

/// A folder `Müsik 🎵\CD 1` with a file of every name.
fn named() -> (Home, PathBuf) {
    let home = library(0);
    let folder = home.path("Müsik 🎵").join("CD 1");
    fs::create_dir_all(&folder).unwrap();
    for name in NAMES {
        fs::copy(home.path("0.wav"), folder.join(name)).unwrap();
    }
    (home, folder)
}

#[test]
fn every_form_of_a_path_is_understood() {
    let (home, folder) = named();
    let expected = tagged(&home, &["0.wav"])["0.wav"].clone();
    let absolute = word(&folder);
    assert!(absolute[1..].starts_with(":\\"), "{absolute}");
    let lower = format!("{}{}", absolute[..1].to_lowercase(), &absolute[1..]);
    let forms = [
        absolute.to_string(),
        lower,
        absolute.replace('\\', "/"),
        format!(r"\\?\{absolute}"),
        absolute[2..].to_string(),
        r"Müsik 🎵\CD 1".to_string(),
        "Müsik 🎵/CD 1".to_string(),
        r".\Müsik 🎵\..\Müsik 🎵\CD 1".to_string(),
    ];
    for form in &forms {
        let separator = if form.contains('\\') { '\\' } else { '/' };
        let files: Vec<String> = NAMES.iter().map(|name| format!("{form}{separator}{name}")).collect();
        let found = tagged(&home, &files.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.len(), NAMES.len(), "{form}");
        for file in &files {
            assert_eq!(found[file], expected, "{file}");
        }
        // The folder, with and without a separator at its end.
        for end in ["", &separator.to_string()] {
            let found = tagged(&home, &[&format!("{form}{end}")]);
            let names = found.keys().map(|path| Path::new(path).file_name().unwrap().to_str().unwrap());
            let mut wanted = NAMES;
            wanted.sort_unstable();
            let mut names: Vec<&str> = names.collect();
            names.sort_unstable();
            assert_eq!(names, wanted, "{form}{end}");
            assert!(found.values().all(|tags| *tags == expected), "{form}{end}");
        }
    }
    // The shell leaves patterns to the program.
    let found = tagged(&home, &[&format!(r"{absolute}\*O*.wav")]);
    assert_eq!(found.len(), NAMES.iter().filter(|name| name.to_lowercase().contains('o')).count());
    assert_eq!(tagged(&home, &["?.wav"]).len(), 3);
    assert_eq!(tagged(&home, &[&format!(r"{absolute}\100% & ^ ! 'x' (1) [2]*")]).len(), 1);
}

#[test]
fn names_that_are_not_unicode_are_rows() {
    use std::ffi::OsString;
    use std::os::windows::ffi::OsStringExt;
    let home = library(0);
    let name = OsString::from_wide(&[0x61, 0xd800, 0x2e, 0x77, 0x61, 0x76]);
    fs::create_dir(home.path("music")).ok();
    if fs::copy(home.path("0.wav"), home.path("music").join(&name)).is_err() {
        return println!("not run: half surrogates in names are not possible here");
    }
    for format in ["jsonl", "csv", "table"] {
        let said = home.ok(&arguments("tag", &["music", "--format", format]));
        assert!(!said.is_empty(), "{format}");
    }
    let row = rows(&home.ok(&arguments("tag", &["music", "--format", "jsonl"]))).remove(0);
    assert!(row["path"].is_string() != row["path_bytes"].is_string() && row["tags"].is_array(), "{row}");
}

#[test]
fn paths_may_be_longer_than_260_characters() {
    let home = library(0);
    let part =
        "ein langer Name für einen Ordner mit Umläuten äöü und 久石譲, 90 Zeichen lang oder etwas mehr";
    let relative: PathBuf = [part; 5].iter().collect();
    let folder = home.0.path().join(&relative);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(home.path("0.wav"), folder.join("track.wav")).unwrap();
    assert!(word(&folder).encode_utf16().count() > 400);
    let expected = tagged(&home, &["0.wav"])["0.wav"].clone();
    for path in [folder.join("track.wav"), relative.join("track.wav"), folder.clone(), relative] {
        let found = tagged(&home, &[word(&path)]);
        assert!(found.len() == 1 && found.values().all(|tags| *tags == expected), "{}", path.display());
    }
    // Outputs too, with their journals, locks and temporary files.
    for (command, name) in [("tag", "rows.jsonl"), ("tag", "rows.csv"), ("embed", "one.npy")] {
        let output = folder.join(name);
        home.ok(&arguments(command, &[word(&folder), "-o", word(&output)]));
        assert!(fs::metadata(&output).unwrap().len() > 0, "{name}");
    }
    let parts = folder.join("parts");
    home.ok(&arguments("embed", &[word(&folder), "--format", "npy", "-o", word(&parts)]));
    home.ok(&arguments("tag", &[word(&folder), "--resume", "-o", word(&folder.join("rows.jsonl"))]));
    assert_eq!(sorted_lines(&folder.join("rows.jsonl")).len(), 1);
    home.ok(&["merge", "-o", word(&folder.join("joined.npy")), word(&parts)]);
}

/// Opens a file that nobody else may open until it is closed.
fn locked(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).share_mode(0).open(path).unwrap()
}

#[test]
fn a_locked_track_is_an_error_of_that_file() {
    let home = library(3);
    let lock = locked(&home.path("music").join("00001.wav"));
    // All names of one file are locked with it.
    fs::copy(home.path("0.wav"), home.path("music").join("free.wav")).unwrap();
    let run = arguments("tag", &["music", "-q", "-o", "rows.jsonl", "--resume"]);
    assert_eq!(home.run(&run).status.code(), Some(1));
    let read = || rows(&fs::read_to_string(home.path("rows.jsonl")).unwrap());
    let failed: Vec<Value> = read().into_iter().filter(|row| row["error"].is_object()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["path"], r"music\00001.wav");
    let message = failed[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot open"), "{message}");
    // The file is tried again when it is free.
    drop(lock);
    home.ok(&run);
    assert_eq!(read().len(), 5, "{:?}", read());
    let last = read().pop().unwrap();
    assert!(last["path"] == r"music\00001.wav" && last["tags"].is_array(), "{last}");
}

#[test]
fn a_locked_output_is_named_and_left_as_it_was() {
    let home = library(2);
    for (command, name) in [("tag", "rows.jsonl"), ("tag", "rows.csv"), ("embed", "one.npy")] {
        let run = arguments(command, &["music", "-q", "--overwrite", "-o", name]);
        home.ok(&run);
        let before = fs::read(home.path(name)).unwrap();
        let lock = locked(&home.path(name));
        let said = home.fails(1, &run);
        assert!(said.contains("cannot write the results") && said.contains(name), "{said}");
        drop(lock);
        assert!(fs::read(home.path(name)).unwrap() == before, "{name}");
    }
    let left = fs::read_dir(home.0.path()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A program that reads rows as they come, such as a viewer of logs, does not disturb and is not disturbed.
#[test]
fn rows_are_read_while_they_are_written() {
    let home = library(60);
    let output = home.path("rows.jsonl");
    let run = arguments("tag", &["music", "--batch", "2", "-q", "-o", word(&output)]);
    let mut child = common::library::spawn(&home, &run);
    let end = Instant::now() + Duration::from_secs(60);
    let mut seen = 0;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        if let Ok(text) = fs::read_to_string(&output) {
            seen += usize::from(!text.is_empty() && text.lines().count() < 60);
        } else if output.exists() {
            panic!("the rows cannot be read: {:?}", fs::read(&output).unwrap_err());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success() && seen > 0, "{seen}");
    assert_eq!(sorted_lines(&output).len(), 60);
}

#[test]
fn lists_as_programs_of_windows_write_them() {
    let (home, folder) = named();
    let expected = tagged(&home, &["0.wav"])["0.wav"].clone();
    let absolute = word(&folder);
    let url = |name: &str| {
        let mut url = format!("file:///{}/{name}", absolute.replace('\\', "/"));
        for (from, to) in [("%", "%25"), (" ", "%20"), ("#", "%23"), ("ü", "%C3%BC")] {
            url = url.replace(from, to);
        }
        url
    };
    let lines = |line: &dyn Fn(&str) -> String| -> String {
        NAMES.iter().map(|name| format!("{}\r\n", line(name))).collect()
    };
    let plain = lines(&|name| format!(r"{absolute}\{name}"));
    let relative = lines(&|name| format!(r"CD 1\{name}"));
    let utf16 = |text: &str| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let lists = [
        ("plain.txt", plain.clone().into_bytes()),
        ("bom.txt", format!("\u{feff}{plain}").into_bytes()),
        ("powershell.txt", utf16(&plain)),
        ("urls.txt", lines(&url).into_bytes()),
        (r"Müsik 🎵\relative.m3u8", format!("\u{feff}#EXTM3U\r\n{relative}").into_bytes()),
        (r"Müsik 🎵\slashes.m3u", relative.replace('\\', "/").into_bytes()),
        ("urls.m3u8", format!("#EXTM3U\r\n{}", lines(&url)).into_bytes()),
    ];
    for (name, content) in lists {
        fs::write(home.path(name), content).unwrap();
        let run = arguments("tag", &["--format", "jsonl", "-q", "--files-from", name]);
        let found = rows(&home.ok(&run));
        assert_eq!(found.len(), NAMES.len(), "{name}");
        assert!(found.iter().all(|row| row["tags"] == expected), "{name}: {}", found[0]);
    }
    // The code page of old programs.
    fs::write(home.path("old.m3u"), b"\xdcberraschung.wav\r\n0.wav\r\n").unwrap();
    let output = home.run(&arguments("tag", &["--format", "jsonl", "-q", "--files-from", "old.m3u"]));
    assert_eq!(output.status.code(), Some(1));
    let found = rows(std::str::from_utf8(&output.stdout).unwrap());
    assert!(found[0]["error"]["message"].as_str().unwrap().contains("UTF-8"), "{}", found[0]);
    assert_eq!(found[1]["tags"], expected);
}

#[test]
fn a_process_without_a_console_writes_its_rows() {
    const DETACHED_PROCESS: u32 = 0x8;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    let home = library(5);
    home.ok(&arguments("tag", &["music", "-q", "-o", "clean.jsonl"]));
    for (flags, name) in [(DETACHED_PROCESS, "detached.jsonl"), (CREATE_NO_WINDOW, "hidden.jsonl")] {
        let mut command = home.command(&arguments("tag", &["music", "-o", name]));
        command.creation_flags(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{name}");
        assert_eq!(sorted_lines(&home.path(name)), sorted_lines(&home.path("clean.jsonl")), "{name}");
    }
    // To a file, as a service does.
    let file = File::create(home.path("out.jsonl")).unwrap();
    let mut command = home.command(&arguments("tag", &["music", "--format", "jsonl"]));
    command.creation_flags(DETACHED_PROCESS).stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    assert_eq!(sorted_lines(&home.path("out.jsonl")), sorted_lines(&home.path("clean.jsonl")));
}

#[test]
fn streams_are_not_translated() {
    let home = library(0);
    let expected = tagged(&home, &["0.wav"])["0.wav"].clone();
    let run = arguments("tag", &["--format", "jsonl", "-"]);
    let mut command = home.command(&run);
    let output = command.stdin(File::open(home.path("0.wav")).unwrap()).output().unwrap();
    assert!(output.status.success() && !output.stdout.contains(&b'\r'));
    assert_eq!(rows(std::str::from_utf8(&output.stdout).unwrap())[0]["tags"], expected);
    // The device that swallows everything.
    home.ok(&arguments("tag", &["0.wav", "--format", "jsonl", "-o", "nul"]));
    assert!(!home.path("nul.journal").exists());
}

/// The default settings give tags on every machine; the demo is electronic music.
#[test]
fn the_demo_is_tagged() {
    let home = Home::new();
    let demo = in_repository("assets/demo.ogg");
    for device in ["auto", "cpu"] {
        let run = ["tag", "--model", "small", "--device", device, "--format", "jsonl", word(&demo)];
        let output = home.run(&run);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{device}: {said}");
        let row = rows(std::str::from_utf8(&output.stdout).unwrap()).remove(0);
        assert_eq!(row["tags"][0]["tag"], "electronic", "{row}");
        println!("{device}: {}", row["device"]);
    }
}
