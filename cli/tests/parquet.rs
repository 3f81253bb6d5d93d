//! Apache Parquet output: equal to JSON Lines, in parts, shards and merged.
#![cfg(feature = "parquet")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use common::command::Home;
use common::seeded;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;
use tagwave::sinks::{TableFile, read_table};

/// Makes a home with weights, a folder of short tracks, and an invalid file.
fn home() -> Home {
    let home = Home::new();
    seeded::export("compact", &home.store());
    fs::create_dir(home.path("music")).unwrap();
    for kind in 0..7 {
        seeded::wav(&home.path(&format!("music/{kind}.wav")), 0.1 + 0.1 * f64::from(kind), kind);
    }
    fs::write(home.path("music/broken.mp3"), "no music").unwrap();
    home
}

/// Runs a command on the folder; one file fails.
fn run(home: &Home, command: &str, rest: &[&str]) {
    let arguments = [&[command, "--device", "cpu", "--model", "compact", "-q", "music"][..], rest].concat();
    let ended = home.run(&arguments);
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
}

fn json(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => text.as_str().into(),
        Field::UInt(number) => (*number).into(),
        Field::Float(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        other => panic!("{other}"),
    }
}

/// Path of a row, with slashes on every system.
fn path_of(row: &Value) -> String {
    row["path"].as_str().unwrap().replace('\\', "/")
}

/// Rows of a table by file, read by another reader than tagwave's.
fn table(path: &Path) -> BTreeMap<String, Vec<Value>> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let fields = row.get_column_iter().map(|(name, field)| (name.clone(), json(field)));
        let value: Value = fields.collect();
        files.entry(path_of(&value)).or_default().push(value);
    }
    files
}

fn lines(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (path_of(&row), row)).collect()
}

/// Rounds to six decimals, as in JSON.
fn rounded(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| (value.as_f64().unwrap() * 1e6).round() / 1e6).collect()
}

#[test]
fn tags_are_those_of_the_lines() {
    let home = home();
    run(&home, "tag", &["-o", "t.jsonl"]);
    run(&home, "tag", &["-o", "t.parquet"]);
    let (lines, table) = (lines(&home.path("t.jsonl")), table(&home.path("t.parquet")));
    assert_eq!(table.len(), 8);
    for (path, rows) in &table {
        let [row] = &rows[..] else { panic!("{path}: {} rows", rows.len()) };
        let line = &lines[path];
        assert_eq!(row["schema"], 2);
        if path == "music/broken.mp3" {
            assert_eq!(row["error_kind"], line["error"]["kind"]);
            assert_eq!(row["error_message"], line["error"]["message"]);
            assert!(row["tags"].is_null() && row["model"].is_null());
            continue;
        }
        for field in ["model", "compat", "device", "decoder", "clip_start_s", "warnings"] {
            assert_eq!(row[field], line[field], "{path}: {field}");
        }
        let tags = line["tags"].as_array().unwrap();
        let (names, scores): (Vec<&Value>, Vec<f64>) =
            tags.iter().map(|tag| (&tag["tag"], tag["score"].as_f64().unwrap())).unzip();
        assert_eq!(row["tags"].as_array().unwrap().iter().collect::<Vec<_>>(), names, "{path}");
        assert_eq!(rounded(&row["scores"]), scores, "{path}");
        assert!(row["features"].is_null() && row["error_kind"].is_null());
    }
}

#[test]
fn clips_are_rows_of_their_own() {
    let home = home();
    seeded::wav(&home.path("music/long.wav"), 62.0, 9);
    let clips = ["--per-clip", "--clips", "all"];
    run(&home, "embed", &[&clips[..], &["-o", "t.jsonl"]].concat());
    run(&home, "embed", &[&clips[..], &["-o", "t.parquet"]].concat());
    let (lines, table) = (lines(&home.path("t.jsonl")), table(&home.path("t.parquet")));
    assert!(table["music/long.wav"].len() > 1);
    for (path, rows) in table.iter().filter(|(path, _)| !path.ends_with(".mp3")) {
        let clips = lines[path]["clips"].as_array().unwrap();
        assert_eq!(rows.len(), clips.len(), "{path}");
        for (row, clip) in rows.iter().zip(clips) {
            assert_eq!(row["clip_start_s"], clip["start_s"]);
            assert_eq!(rounded(&row["features"]), rounded(&clip["embedding"]));
        }
    }
}

#[test]
fn parts_are_resumed_and_merged() {
    let home = home();
    run(&home, "tag", &["-o", "whole.parquet"]);
    let parts = ["--format", "parquet", "-o", "parts"];
    let shard = ["--shard", "0/2"];
    home.run(&[&["tag", "--device", "cpu", "--model", "compact", "music"][..], &shard, &parts].concat());
    let tag = ["tag", "--device", "cpu", "--model", "compact", "music"];
    let said = home.fails(2, &[&tag[..], &parts].concat());
    assert!(said.contains("--resume"), "{said}");
    home.run(&[&tag[..], &parts, &["--resume"]].concat());
    assert!(home.path("parts/part-00001.parquet").exists());
    assert!(!home.path("parts/part-00002.parquet").exists());
    let ended = home.run(&["merge", "-o", "merged.parquet", "parts", "whole.parquet"]);
    assert!(ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("8 rows of 3 files; 8 superseded"), "{said}");
    let (mut merged, mut whole) = (table(&home.path("merged.parquet")), table(&home.path("whole.parquet")));
    assert_eq!(merged, whole);
    // Before the whole, the parts were the same.
    home.ok(&["merge", "-o", "merged.parquet", "parts"]);
    merged = table(&home.path("merged.parquet"));
    whole.values_mut().for_each(|rows| assert_eq!(rows.len(), 1));
    assert_eq!(merged, whole);
    // A single file cannot be resumed and needs a name; an invalid table is reported.
    home.fails(2, &[&tag[..], &["-o", "whole.parquet", "--resume"]].concat());
    home.fails(2, &[&tag[..], &["--format", "parquet"]].concat());
    fs::write(home.path("torn.parquet"), "PAR1").unwrap();
    let said = home.fails(1, &["merge", "-o", "merged.parquet", "whole.parquet", "torn.parquet"]);
    assert!(said.contains("torn.parquet"), "{said}");
    // Rows of an older schema are refused.
    let mut old = TableFile::create(&home.path("old.parquet")).unwrap();
    for rows in read_table(&home.path("whole.parquet")).unwrap() {
        let rows = rows.unwrap();
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
            let ones: ArrayRef = Arc::new(UInt32Array::from(vec![1; rows.num_rows()]));
            (field.name(), if field.name() == "schema" { ones } else { column.clone() }, true)
        });
        old.write(&RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    }
    old.finish().unwrap();
    let said = home.fails(1, &["merge", "-o", "merged.parquet", "whole.parquet", "old.parquet"]);
    assert!(said.contains("old.parquet: expected rows of schema 2, found schema 1"), "{said}");
}
