//! Many good, unusual and damaged files against a table of what to expect: `cargo xtask matrix DIR`.
//!
//! `DIR/manifest.tsv` has the columns `file` (percent-encoded, relative), `kind`, `expect`, `what` and `note`. Of `expect`,
//! `ok`, `ok-short` and `unsup` want tags (`unsup` needs `ffmpeg`), `error` wants an error row, `either` one of both. The
//! first row is the reference: good files hold its first seconds in other formats, so that their scores must be those of
//! a piece of equal length that `ffmpeg` cuts from it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::limited::{self, Ran, with_memory};

const BATCH_LIMIT: Duration = Duration::from_secs(600);
const FILE_LIMIT: Duration = Duration::from_secs(30);
const MEMORY_BYTES: u64 = 8 << 30;
/// Lengths of the good files, in seconds.
const LENGTHS_S: [f64; 7] = [1.0, 4.0, 6.0, 10.0, 12.0, 20.0, 40.0];
/// Largest difference of scores from the reference: mean over the tags, and of one tag. Lossy formats change both.
const MEAN_TOLERANCE: f64 = 0.02;
const TAG_TOLERANCE: f64 = 0.2;
/// Largest difference of scores between two devices, and between a batch and a single file.
const DEVICE_TOLERANCE: f64 = 2e-3;
const BATCH_TOLERANCE: f64 = 1e-5;

struct Row {
    path: PathBuf,
    name: String,
    kind: String,
    expect: String,
    note: String,
}

/// Scores by tag, or the kind and message of an error.
#[derive(Clone, Debug)]
enum Outcome {
    Tags { scores: BTreeMap<String, f64>, track_s: f64, warnings: String },
    Error { kind: String, message: String },
    Missing,
}

/// Rows that no outcome can meet as the table states it, with the reason; checked otherwise or not at all.
fn exception(row: &Row, is_root: bool) -> Option<&'static str> {
    match row.name.as_str() {
        "bad/m4a_bad_esds.m4a" => Some(
            "ffmpeg plays it without a warning, as the music that it is: mp4a without a readable esds is AAC",
        ),
        "fs/unreadable.mp3" | "fs/locked_dir/x.mp3" if is_root => Some("root may read every file"),
        "fs/song.mp3" | "fs/empty_dir" | "fs/tree" => Some("a folder: searched, not read as a file"),
        _ => None,
    }
}

pub fn run(tagwave: &Path, arguments: &[String]) -> Result<(), String> {
    let [folder, rest @ ..] = arguments else {
        return Err(
            "usage: cargo xtask matrix DIR [DEVICE...], DIR holding manifest.tsv; devices: cpu 0".into()
        );
    };
    let folder = fs::canonicalize(folder).map_err(|error| format!("{folder}: {error}"))?;
    let rows = manifest(&folder)?;
    let devices: Vec<&str> =
        if rest.is_empty() { vec!["cpu", "0"] } else { rest.iter().map(String::as_str).collect() };
    let references = references(tagwave, &rows, devices[0])?;
    let mut failures = Vec::new();
    let mut first: Option<HashMap<PathBuf, Outcome>> = None;
    for device in devices {
        let batch = batch(tagwave, &rows, device)?;
        println!("{device}: {} rows in one batch", batch.len());
        let mut slowest = (Duration::ZERO, String::new());
        for row in &rows {
            let single = single(tagwave, row, device)?;
            if single.time > slowest.0 {
                slowest = (single.time, row.name.clone());
            }
            let mut fail = |reason: String| failures.push(format!("{device}: {}: {reason}", row.name));
            if single.status.is_none() {
                fail(format!("no end after {} s", FILE_LIMIT.as_secs()));
            } else if single.status.is_some_and(|status| status.code().is_none_or(|code| code > 1)) {
                fail(format!("ended with {:?}: {}", single.status, tail(&single.stderr)));
            }
            if row.path.is_dir() {
                continue;
            }
            let alone = outcomes(&single.stdout).remove(&row.path).unwrap_or(Outcome::Missing);
            let together = batch.get(&row.path).cloned().unwrap_or(Outcome::Missing);
            if let Some(reason) = difference(&alone, &together, BATCH_TOLERANCE) {
                fail(format!("alone and in a batch: {reason}"));
            }
            if let Some(other) = first.as_ref().and_then(|first| first.get(&row.path))
                && let Some(reason) = difference(&together, other, DEVICE_TOLERANCE)
            {
                fail(format!("on two devices: {reason}"));
            }
            if let Some(reason) = judge(row, &together, &references)
                && exception(row, is_root()).is_none()
            {
                fail(reason);
            }
        }
        println!("{device}: slowest single file {:.2} s ({})", slowest.0.as_secs_f64(), slowest.1);
        first.get_or_insert(batch);
    }
    for row in &rows {
        if let Some(reason) = exception(row, is_root()) {
            println!("exception: {}: {reason}", row.name);
        }
    }
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    if failures.is_empty() {
        println!("{} of {} rows as expected or listed as exceptions", rows.len(), rows.len());
        Ok(())
    } else {
        Err(format!("{} failures", failures.len()))
    }
}

fn manifest(folder: &Path) -> Result<Vec<Row>, String> {
    let path = folder.join("manifest.tsv");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let row = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [file, kind, expect, _, note] = words[..] else {
            return Err(format!("{}: expected five columns, found {line:?}", path.display()));
        };
        Ok(Row {
            path: folder.join(decoded(file)),
            name: file.into(),
            kind: kind.into(),
            expect: expect.into(),
            note: note.into(),
        })
    };
    text.lines().skip(1).map(row).collect()
}

/// A percent-encoded name of any bytes.
fn decoded(name: &str) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, others @ ..] = rest {
        let code = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    of_bytes(bytes)
}

#[cfg(unix)]
fn of_bytes(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn of_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| {
        #[cfg(unix)]
        return std::os::unix::fs::MetadataExt::uid(&own) == 0;
        #[cfg(not(unix))]
        return own.is_dir() && false;
    })
}

fn tag(tagwave: &Path, device: &str) -> Command {
    let mut command = with_memory(tagwave, MEMORY_BYTES);
    command.args(["tag", "--model", "small", "--format", "jsonl", "--threshold", "0", "--device", device]);
    command
}

fn batch(tagwave: &Path, rows: &[Row], device: &str) -> Result<HashMap<PathBuf, Outcome>, String> {
    let list = std::env::temp_dir().join(format!("tagwave-matrix-{}", std::process::id()));
    let paths = rows.iter().filter(|row| !row.path.is_dir());
    let bytes: Vec<u8> =
        paths.flat_map(|row| [row.path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
    fs::write(&list, bytes).map_err(|error| format!("{}: {error}", list.display()))?;
    let ran = limited::run(tag(tagwave, device).arg("--files-from").arg(&list), BATCH_LIMIT);
    let _ = fs::remove_file(&list);
    let ran = ran?;
    match ran.status {
        Some(status) if status.code().is_some_and(|code| code <= 1) => Ok(outcomes(&ran.stdout)),
        status => Err(format!("{device}: the batch ended with {status:?}: {}", tail(&ran.stderr))),
    }
}

fn single(tagwave: &Path, row: &Row, device: &str) -> Result<Ran, String> {
    limited::run(tag(tagwave, device).arg("--").arg(&row.path), FILE_LIMIT)
}

fn tail(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(300)).collect()
}

fn outcomes(stdout: &[u8]) -> HashMap<PathBuf, Outcome> {
    let text = String::from_utf8_lossy(stdout);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|row| (path_of(&row), outcome(&row))).collect()
}

fn path_of(row: &Value) -> PathBuf {
    match (row["path"].as_str(), row["path_bytes"].as_str()) {
        (Some(path), _) => path.into(),
        (None, Some(bytes)) => of_bytes(base64(bytes)).into(),
        (None, None) => PathBuf::new(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().filter_map(value).collect();
    let group = |digits: &[u8]| {
        let word =
            digits.iter().enumerate().fold(0u32, |word, (i, &digit)| word | u32::from(digit) << (18 - 6 * i));
        word.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

fn outcome(row: &Value) -> Outcome {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
    if row["error"].is_object() {
        return Outcome::Error { kind: word(&row["error"]["kind"]), message: word(&row["error"]["message"]) };
    }
    let tags = row["tags"].as_array().into_iter().flatten();
    Outcome::Tags {
        scores: tags.map(|tag| (word(&tag["tag"]), tag["score"].as_f64().unwrap_or(f64::NAN))).collect(),
        track_s: row["track_s"].as_f64().unwrap_or(0.0),
        warnings: row["warnings"].to_string(),
    }
}

/// Mean and largest difference of scores.
fn distances(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> (f64, f64) {
    let differences = a.iter().map(|(tag, score)| (score - b.get(tag).unwrap_or(&f64::NAN)).abs());
    let (sum, most) = differences.fold((0.0, 0.0f64), |(sum, most), difference| {
        (sum + difference, if difference.is_nan() { f64::INFINITY } else { most.max(difference) })
    });
    (sum / a.len().max(1) as f64, most)
}

fn difference(a: &Outcome, b: &Outcome, tolerance: f64) -> Option<String> {
    match (a, b) {
        (Outcome::Tags { scores: a, .. }, Outcome::Tags { scores: b, .. }) => {
            let (_, most) = distances(a, b);
            (most > tolerance).then(|| format!("scores differ by {most:.6}"))
        }
        (Outcome::Error { kind: a, .. }, Outcome::Error { kind: b, .. }) if a == b => None,
        (a, b) => Some(format!("{a:?} and {b:?}")),
    }
}

/// Scores of the first seconds of the reference, at full bandwidth and at that of 8 kHz.
type References = Vec<(f64, bool, BTreeMap<String, f64>)>;

fn references(tagwave: &Path, rows: &[Row], device: &str) -> Result<References, String> {
    let Some(reference) = rows.first() else { return Err("the manifest has no rows".into()) };
    let folder = std::env::temp_dir().join(format!("tagwave-references-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut references = Vec::new();
    for length_s in LENGTHS_S {
        for is_narrow in [false, true] {
            let cut = folder.join(format!("{length_s}-{is_narrow}.wav"));
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(&reference.path);
            ffmpeg.args(["-t", &length_s.to_string(), "-c:a", "pcm_f32le"]);
            if is_narrow {
                ffmpeg.args(["-ac", "1", "-ar", "8000"]);
            }
            let made = limited::run(ffmpeg.arg(&cut), FILE_LIMIT)?;
            if !made.status.is_some_and(|status| status.success()) {
                return Err(format!("ffmpeg cannot cut the reference: {}", tail(&made.stderr)));
            }
            let ran = limited::run(tag(tagwave, device).arg(&cut), FILE_LIMIT)?;
            if let Some(Outcome::Tags { scores, .. }) = outcomes(&ran.stdout).remove(&cut) {
                references.push((length_s, is_narrow, scores));
            }
        }
    }
    let _ = fs::remove_dir_all(&folder);
    Ok(references)
}

/// What is wrong with a row's outcome.
fn judge(row: &Row, outcome: &Outcome, references: &References) -> Option<String> {
    match (row.expect.as_str(), outcome) {
        (_, Outcome::Missing) => Some("no row".into()),
        (_, Outcome::Error { kind, message }) if kind == "internal" => {
            Some(format!("internal error: {message}"))
        }
        ("ok" | "unsup", Outcome::Error { message, .. }) => {
            Some(format!("expected tags, found an error: {message}"))
        }
        ("error", Outcome::Tags { warnings, .. }) => {
            Some(format!("expected an error, found tags with {warnings}"))
        }
        (_, Outcome::Tags { scores, track_s, .. }) => {
            if scores.values().any(|score| !(0.0..=1.0).contains(score)) {
                return Some("scores outside 0 to 1".into());
            }
            if row.kind != "good" && row.kind != "fs" {
                return None;
            }
            let is_narrow =
                row.note.contains("4 kHz") || row.name.contains("8k") || row.name.contains("7999");
            let (_, _, expected) = references
                .iter()
                .find(|(length_s, narrow, _)| (length_s - track_s).abs() < 0.3 && *narrow == is_narrow)?;
            let (mean, most) = distances(expected, scores);
            (mean > MEAN_TOLERANCE || most > TAG_TOLERANCE).then(|| {
                format!("scores differ from the reference by {mean:.4} in the mean, {most:.4} at most")
            })
        }
        (_, Outcome::Error { .. }) => None,
    }
}
