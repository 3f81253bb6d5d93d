//! `tagwave learn`: tags of one's own, learned from synthetic tracks and used on others.

mod common;

use std::fs;
use std::path::Path;

use common::audio::wav_i16;
use common::command::Home;
use common::library::rows;
use common::seeded;
use serde_json::Value;

const ON_CPU: [&str; 2] = ["--device", "cpu"];
const SMALL: [&str; 4] = ["--device", "cpu", "--model", "small"];

/// White noise of 2 s at 12 kHz.
fn noise(path: &Path, seed: u32) {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 17) as i16 - (1 << 14)
    };
    let samples: Vec<i16> = (0..24_000).map(|_| next()).collect();
    fs::write(path, wav_i16(1, 12_000, &samples)).unwrap();
}

/// A home with 12 tones and 12 noises of six artists each in `music`, their labels `l.csv`, and a tone and a noise of
/// nobody in `new`. The tag `rare` has one track.
fn home() -> Home {
    let home = Home::new();
    fs::create_dir(home.path("music")).unwrap();
    fs::create_dir(home.path("new")).unwrap();
    let mut labels = "path,artist,tone,noise,rare,rating\n".to_string();
    for track in 0..12u32 {
        seeded::wav(&home.path(&format!("music/tone{track:02}.wav")), 2.0, track);
        noise(&home.path(&format!("music/noise{track:02}.wav")), track);
        let artist = track / 2;
        labels += &format!("music/tone{track:02}.wav,t{artist},1,0,{},{track}\n", u32::from(track == 0));
        labels += &format!("music/noise{track:02}.wav,n{artist},0,1,0,3\n");
    }
    fs::write(home.path("l.csv"), labels).unwrap();
    seeded::wav(&home.path("new/tone.wav"), 2.0, 30);
    noise(&home.path("new/noise.wav"), 30);
    home
}

/// Runs `tagwave learn` and returns what it wrote on standard output and standard error.
fn learn(home: &Home, rest: &[&str]) -> (String, String) {
    let output = home.run(&[&["learn", "--labels", "l.csv"], &SMALL[..], rest].concat());
    let [out, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{said}");
    (out, said)
}

/// Scores of one file by a model, by tag.
fn scores(home: &Home, model: &str, file: &str) -> Vec<(String, f64)> {
    let text =
        home.ok(
            &[&["tag", "--model", model, "--top", "60", "--format", "jsonl"], &ON_CPU[..], &[file]].concat()
        );
    let rows = rows(&text);
    let tags = rows[0]["tags"].as_array().unwrap();
    tags.iter()
        .map(|tag| (tag["tag"].as_str().unwrap().to_string(), tag["score"].as_f64().unwrap()))
        .collect()
}

#[test]
fn tags_are_learned_and_found_in_other_tracks() {
    let home = home();
    let rest = ["--group", "artist", "-o", "own.safetensors", "--format", "json", "music"];
    let (out, said) = learn(&home, &rest);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["overall"]["macro"]["roc_auc"]["value"].as_f64().unwrap() > 0.85, "{report}");
    assert!(said.contains("1 columns left out, which have other values than 0 and 1: rating"), "{said}");
    assert!(
        said.contains("1 tags left out, which lack at least 2 tracks with it and 2 without it: rare"),
        "{said}"
    );
    assert!(said.contains("own.safetensors: 2 tags on small, learned from 24 tracks"), "{said}");
    assert!(!said.contains("--group"), "{said}");
    for (file, tag) in [("new/tone.wav", "tone"), ("new/noise.wav", "noise")] {
        let found = scores(&home, "own.safetensors", file);
        assert!(found.len() == 2 && found[0].0 == tag && found[0].1 > 0.7, "{file}: {found:?}");
    }

    // Features that were written before give the same file.
    home.ok(&[&["embed", "-o", "features.jsonl"], &SMALL[..], &["music"]].concat());
    let (_, said) = learn(
        &home,
        &["features.jsonl", "-o", "again.safetensors", "--report", "report.html", "--format", "html"],
    );
    assert!(said.contains("no --group"), "{said}");
    assert!(fs::read_to_string(home.path("report.html")).unwrap().contains("cross-validation in 5 folds"));
    // Text has fewer digits of the features.
    for ((tag, score), (_, found)) in scores(&home, "own.safetensors", "new/tone.wav").iter().zip(scores(
        &home,
        "again.safetensors",
        "new/tone.wav",
    )) {
        assert!((score - found).abs() < 1e-3, "{tag}: {score}, {found}");
    }
}

#[test]
fn the_tags_of_the_model_may_stay() {
    let home = home();
    learn(&home, &["--also", "--group", "artist", "-o", "both.safetensors", "music"]);
    let both = scores(&home, "both.safetensors", "new/tone.wav");
    assert_eq!(both.len(), 52);
    for (tag, score) in scores(&home, "small", "new/tone.wav") {
        let found = both.iter().find(|(other, _)| *other == tag).unwrap().1;
        assert!((score - found).abs() < 1e-6, "{tag}: {score}, {found}");
    }
}

#[test]
fn mistakes_are_named() {
    let home = home();
    let fails = |rest: &[&str]| home.fails(2, &[&["learn", "--labels", "l.csv"], rest, &SMALL[..]].concat());
    assert!(fails(&["music", "-o", "own.bin"]).contains(".safetensors"));
    let other = ["--labels", "l.csv", "music", "-o", "own.safetensors", "--model", "other.safetensors"];
    let said = home.fails(2, &[&["learn"][..], &other].concat());
    assert!(said.contains("a name from `tagwave models`"), "{said}");
    let said = fails(&["music", "-o", "own.safetensors", "--penalty", "0"]);
    assert!(said.contains("penalty"), "{said}");
    home.ok(&[&["tag", "-o", "scores.jsonl"], &SMALL[..], &["new"]].concat());
    assert!(fails(&["scores.jsonl", "-o", "own.safetensors"]).contains("tagwave embed"));
    let said = fails(&["new", "-o", "own.safetensors"]);
    assert!(said.contains("no track in common"), "{said}");
    fs::write(home.path("l.csv"), "path,a\nmusic/tone00.wav,1\nmusic/tone01.wav,0\n").unwrap();
    let said = fails(&["music/tone00.wav", "music/tone01.wav", "-o", "own.safetensors"]);
    assert!(said.contains("no tag can be learned"), "{said}");
    assert!(!home.path("own.safetensors").exists());
}
