//! The program: several clips per file, feature files, taps and principal components.
//!
//! The models are full-size with seeded weights, so that the tests need only an adapter.

mod common;

use std::fs;
use std::path::Path;

use common::command::{Home, word};
use common::seeded;
use serde_json::Value;
use tagwave::models;
use tagwave::tagger::{Outputs, Tagger};
use tagwave::tensor::DType;
use tagwave::weights::{self, Weights};

/// Makes a home with weights of these models; `None` without an adapter.
fn home(names: &[&str]) -> Option<Home> {
    common::gpu()?;
    let home = Home::new();
    names.iter().for_each(|name| seeded::export(name, &home.store()));
    Some(home)
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(array: &Value) -> Vec<f64> {
    array.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Shape and values of an npy file.
fn npy(path: &Path) -> (Vec<u64>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(file.order(), npyz::Order::C);
    (file.shape().to_vec(), file.into_vec::<f32>().unwrap())
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "at {i}: {a} for {b}");
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

#[test]
fn clips_over_time() {
    let Some(home) = home(&["crnn"]) else { return };
    seeded::wav(&home.path("long.wav"), 70.0, 1);
    let tag = |arguments: &[&str]| {
        let all = [&["tag", "long.wav", "--threshold", "0", "--format", "jsonl"][..], arguments].concat();
        rows(&home.ok(&all)).remove(0)
    };
    // Every score by label, in the order of the first row.
    let scores = |tags: &Value| {
        let mut scores: Vec<(String, f64)> = tags
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| (tag["tag"].as_str().unwrap().to_string(), tag["score"].as_f64().unwrap()))
            .collect();
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(scores.len(), 50);
        scores.into_iter().map(|(_, score)| score).collect::<Vec<_>>()
    };
    let row = tag(&["--clips", "all", "--stride", "15", "--per-clip"]);
    assert_eq!(row["clip_count"], 4);
    let clips = row["clips"].as_array().unwrap();
    let starts: Vec<f64> = clips.iter().map(|clip| clip["start_s"].as_f64().unwrap()).collect();
    // The last clip ends with the track.
    assert_eq!(starts, [0.0, 15.0, 30.0, 40.88]);
    let each: Vec<Vec<f64>> = clips.iter().map(|clip| scores(&clip["tags"])).collect();
    assert_ne!(each[0], each[1]);
    let over = |rule: fn(&[f64]) -> f64| -> Vec<f64> {
        (0..50).map(|i| rule(&each.iter().map(|clip| clip[i]).collect::<Vec<_>>())).collect()
    };
    let mean = over(|scores| scores.iter().sum::<f64>() / scores.len() as f64);
    let largest = over(|scores| scores.iter().copied().fold(0.0, f64::max));
    close(&scores(&row["tags"]), &mean, 2e-6);
    let row = tag(&["--clips", "all", "--stride", "15", "--aggregate", "max"]);
    close(&scores(&row["tags"]), &largest, 2e-6);
    assert!(row.get("clips").is_none());

    let row = tag(&["--clips", "15"]);
    assert_eq!(row["clip_start_s"], 15.0);
    assert!(row.get("clip_count").is_none());
    assert_eq!(scores(&row["tags"]), each[1]);
}

#[test]
fn clips_in_tables() {
    let Some(home) = home(&["crnn"]) else { return };
    seeded::wav(&home.path("long.wav"), 70.0, 1);
    let arguments = ["tag", "long.wav", "--clips", "all", "--per-clip", "--top", "3"];
    // The stride is a clip's length by default, and what then remains is shorter than half a clip.
    let csv = home.ok(&[&arguments[..], &["--format", "csv"]].concat());
    assert_eq!(csv.lines().count(), 1 + 2 * 3, "{csv}");
    assert_eq!(csv.lines().filter(|line| line.contains(",29.12,")).count(), 3, "{csv}");
    let table = home.ok(&[&arguments[..], &["--format", "table"]].concat());
    assert!(table.contains("  from 0.00 s\n") && table.contains("  from 29.12 s\n"), "{table}");
    assert_eq!(table.lines().count(), 1 + 3 + 2 * 4, "{table}");
}

#[test]
fn a_start_beyond_the_end_is_an_error_of_that_file() {
    let Some(home) = home(&["crnn"]) else { return };
    seeded::wav(&home.path("long.wav"), 40.0, 1);
    seeded::wav(&home.path("short.wav"), 5.0, 2);
    let output = home.run(&["tag", "short.wav", "long.wav", "--clips", "20"]);
    assert_eq!(output.status.code(), Some(1));
    let found = rows(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(found[0]["error"]["kind"], "input");
    assert_eq!(found[1]["clip_start_s"], 20.0);
    // The padding of a short clip changes its features.
    let padded =
        |pad: &str| rows(&home.ok(&["embed", "short.wav", "--pad", pad])).remove(0)["embedding"].clone();
    assert_ne!(padded("zeros"), padded("repeat"));
}

#[test]
fn wrong_usage() {
    let home = Home::new();
    seeded::export("crnn", &home.store());
    fs::write(home.path("kept.npy"), "as it was").unwrap();
    for arguments in [
        &["tag", "a.wav", "--stride", "3"][..],
        &["tag", "a.wav", "--clips", "all", "--stride", "0"],
        &["tag", "a.wav", "--clips", "-1"],
        &["tag", "a.wav", "--clips", "middle"],
        &["embed", "a.wav", "--format", "npy"],
        &["embed", "a.wav", "--pca", "2"],
        &["embed", "a.wav", "--pca", "0", "-o", "kept.npy", "--overwrite"],
        &["embed", "a.wav", "--model", "cnn", "-o", "kept.npy", "--overwrite"],
    ] {
        home.fails(2, arguments);
    }
    let said = home.fails(2, &["embed", "a.wav", "--tap", "nothing", "-o", "kept.npy", "--overwrite"]);
    assert!(said.contains("conv1") && said.contains("gru1"), "{said}");
    home.fails(1, &["embed", "a.wav", "-o", "no such folder/a.npy"]);
    // An array is one file, which a run would replace as a whole.
    let said = home.fails(2, &["embed", "a.wav", "-o", "kept.npy"]);
    assert!(said.contains("--overwrite"), "{said}");
    assert_eq!(fs::read(home.path("kept.npy")).unwrap(), b"as it was");
    // Compiled pipelines are kept in the cache folder.
    let names = fs::read_dir(home.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name != "cache").count(), 2, "something was left behind");
}

#[test]
fn features_as_an_array() {
    let Some(home) = home(&["crnn", "cnn"]) else { return };
    let files = ["a.wav", "no such file.wav", if cfg!(unix) { "b\n.wav" } else { "b.wav" }];
    seeded::wav(&home.path(files[0]), 31.0, 1);
    seeded::wav(&home.path(files[2]), 33.0, 2);
    for (model, features) in [("crnn", 32), ("cnn", 256)] {
        let arguments = [&["embed", "--model", model, "-o", "f.npy", "--overwrite"][..], &files[..]].concat();
        let said = home.fails(1, &arguments);
        assert!(said.contains("no such file.wav: cannot open"), "{said}");
        let (shape, values) = npy(&home.path("f.npy"));
        assert_eq!(shape, [2, features]);
        let listed = if cfg!(unix) { "a.wav\n\"b\\n.wav\"\n" } else { "a.wav\nb.wav\n" };
        assert_eq!(fs::read_to_string(home.path("f.paths.txt")).unwrap(), listed);
        let printed = rows(&home.ok(&["embed", "--model", model, files[2]]));
        close(&doubles(&values[features as usize..]), &numbers(&printed[0]["embedding"]), 1e-6);
    }
    // A row per clip, each with its start in the list.
    home.ok(&["embed", "a.wav", "--clips", "all", "--stride", "1", "--per-clip", "-o", "c.npy"]);
    assert_eq!(npy(&home.path("c.npy")).0, [3, 32]);
    let listed = fs::read_to_string(home.path("c.paths.txt")).unwrap();
    assert_eq!(listed, "a.wav\t0\na.wav\t1\na.wav\t1.88\n");
    // Lines go to files as well; the ending of the name decides.
    home.ok(&["embed", "a.wav", "-o", "f.csv"]);
    assert_eq!(fs::read_to_string(home.path("f.csv")).unwrap().lines().count(), 33);
    home.ok(&["embed", "a.wav", "-o", "f.jsonl"]);
    assert_eq!(rows(&fs::read_to_string(home.path("f.jsonl")).unwrap()).len(), 1);
}

#[test]
fn weights_without_a_last_layer_give_features_but_no_tags() {
    let Some(home) = home(&[]) else { return };
    let model = models::find("compact").unwrap();
    let seeded = seeded::weights_of(model.architecture());
    let features = seeded.iter().filter(|(name, _)| !name.starts_with("output."));
    let features = Weights::from_tensors(features.map(|(name, tensor)| (name.to_string(), tensor.clone())));
    fs::create_dir_all(home.store()).unwrap();
    weights::export(&features, &home.store().join("compact.safetensors"), DType::F32).unwrap();
    seeded::wav(&home.path("a.wav"), 30.0, 1);
    home.ok(&["embed", "--model", "compact", "a.wav", "-o", "a.npy"]);
    assert_eq!(npy(&home.path("a.npy")).0, [1, 160]);
    let said = home.fails(2, &["tag", "--model", "compact", "a.wav"]);
    assert!(said.contains("embed"), "{said}");
}

#[test]
fn a_tap_gives_any_layer() {
    let Some(home) = home(&["crnn"]) else { return };
    seeded::wav(&home.path("a.wav"), 50.0, 1);
    let embed = |arguments: &[&str]| rows(&home.ok(&[&["embed", "a.wav"][..], arguments].concat())).remove(0);
    let tapped = embed(&["--tap", "features"]);
    assert_eq!(tapped["tap"], "features");
    assert_eq!(tapped["features"], embed(&[])["embedding"]);
    assert_eq!(numbers(&embed(&["--tap", "probs"])["features"]).len(), 50);
    // Whole layers: [128, 1, 15] here.
    let both = embed(&["--tap", "pool4", "--clips", "all", "--stride", "20", "--per-clip"]);
    let clips: Vec<_> =
        both["clips"].as_array().unwrap().iter().map(|clip| numbers(&clip["features"])).collect();
    assert_eq!(clips.len(), 2);
    assert_eq!(clips[0].len(), 128 * 15);
    let mean: Vec<f64> = clips[0].iter().zip(&clips[1]).map(|(a, b)| (a + b) / 2.0).collect();
    close(&numbers(&both["features"]), &mean, 2e-6);
}

#[test]
fn the_library_taps_and_leaves_out() {
    let Some(gpu) = common::gpu() else { return };
    let samples: Vec<f32> = (0..360_000).map(|i| (0.3 * i as f32).sin()).collect();
    let track = |outputs: Outputs, tap: &str| {
        let model = models::find("crnn").unwrap();
        let weights = seeded::weights_of(model.architecture());
        let builder = Tagger::builder().gpu(gpu.clone()).outputs(outputs).tap(tap).max_batch(1);
        builder.build_from(model, &weights).unwrap().tag_samples(&samples, 12_000).unwrap()
    };
    let all = track(Outputs::All, "features");
    assert_eq!((all.scores.len(), all.embedding.len()), (50, 32));
    assert_eq!(all.tap, all.embedding);
    let some = track(Outputs::Embedding, "input");
    assert!(some.scores.is_empty());
    assert_eq!(some.embedding, all.embedding);
    assert_eq!(some.tap.len(), 96 * 1366);
    assert_eq!(some.clips[0].tap, some.tap);
    // A standardised spectrogram, high where the tone is: low bands come first in C order.
    let band = |band: usize| some.tap[band * 1366..(band + 1) * 1366].iter().sum::<f32>() / 1366.0;
    let loudest = (0..96).max_by(|&a, &b| band(a).total_cmp(&band(b))).unwrap();
    assert!((15..25).contains(&loudest), "{loudest}");
    let tap = track(Outputs::Tap, "pool1");
    assert!(tap.scores.is_empty() && tap.embedding.is_empty());
    assert_eq!(tap.tap.len(), 64 * 48 * 720);
}

#[test]
fn principal_components_of_a_run() {
    let Some(home) = home(&["crnn"]) else { return };
    let files: Vec<String> = (0..5).map(|i| format!("{i}.wav")).collect();
    for (seed, file) in files.iter().enumerate() {
        seeded::wav(&home.path(file), 30.0, seed as u32);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = home.ok(&[&["embed", "-o", "f.npy", "--pca", "2"][..], &files].concat());
    assert!(said.contains("2 of 32 components of 5 rows") && said.contains("reconstruction error"), "{said}");
    let (shape, rows) = npy(&home.path("f.npy"));
    assert_eq!(shape, [5, 32]);
    let (shape, components) = npy(&home.path("f.pca.components.npy"));
    assert_eq!(shape, [2, 32]);
    let (shape, mean) = npy(&home.path("f.pca.mean.npy"));
    assert_eq!(shape, [32]);
    assert_eq!(npy(&home.path("f.pca.variance.npy")).0, [2]);
    let (shape, coordinates) = npy(&home.path("f.pca.npy"));
    assert_eq!(shape, [5, 2]);
    // The printed error is that of the files.
    let mut error = 0.0;
    for (row, at) in rows.chunks(32).zip(coordinates.chunks(2)) {
        for i in 0..32 {
            let recovered = mean[i] + at[0] * components[i] + at[1] * components[32 + i];
            error += f64::from(((recovered - row[i]) / row[i]).abs()) / (5.0 * 32.0);
        }
    }
    let printed = said.split("reconstruction error ").nth(1).unwrap().split(',').next().unwrap();
    let printed: f64 = printed.parse().unwrap();
    assert!((printed - error).abs() <= 1e-3 * error + 1e-6, "{printed} for {error}");

    // More components than rows: an error, and the features are kept.
    let said = home.fails(1, &[&["embed", "-o", "g.npy", "--pca", "3"][..], &files[..2]].concat());
    assert!(said.contains("expected 1 to 2 components of 2 rows"), "{said}");
    assert_eq!(npy(&home.path("g.npy")).0, [2, 32]);
    assert!(!home.path("g.pca.npy").exists());
    let said = home.fails(2, &["embed", files[0], "-o", "h.npy", "--pca", "33"]);
    assert!(said.contains("32 features"), "{said}");
    let said = home.fails(1, &["embed", files[0], "-o", "h.npy", "--pca", "2", "--tap", "pool4"]);
    assert!(said.contains("found 1920"), "{said}");
    assert!(word(&home.path("h.npy")).ends_with("h.npy") && !home.path("h.npy").exists());
}
