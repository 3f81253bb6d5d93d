//! `tagwave index`, `similar` and `playlist`: updates, moved files, conditions, playlists, errors.

mod common;

use std::fs;
use std::path::Path;

use common::audio::wav_i16;
use common::command::{Home, word};
use common::library::{MODEL, library, rows};
use common::seeded;
use serde_json::Value;
use tagwave::weights;

/// A home with twelve different tracks in `music`, two folders.
fn home() -> Home {
    let home = library(0);
    fs::create_dir_all(home.path("music/b")).unwrap();
    for seed in 0..12u32 {
        let folder = if seed % 2 == 0 { "music" } else { "music/b" };
        seeded::wav(&home.path(&format!("{folder}/{seed:02}.wav")), 1.0 + f64::from(seed) / 10.0, seed);
    }
    home
}

/// Runs `tagwave index` and returns its report.
fn index(home: &Home, rest: &[&str]) -> String {
    let output = home.run(&[&["index"][..], &MODEL, rest].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said.lines().last().unwrap().to_string()
}

fn paths(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["path"].as_str().unwrap().replace('\\', "/")).collect()
}

#[test]
fn an_index_follows_its_folders() {
    let home = home();
    assert!(
        index(&home, &["music"])
            .ends_with("12 tracks, 12 new or changed, 0 as before, 0 moved or copied, 0 gone")
    );
    assert!(
        index(&home, &["music"])
            .ends_with("12 tracks, 0 new or changed, 12 as before, 0 moved or copied, 0 gone")
    );
    fs::rename(home.path("music/00.wav"), home.path("music/b/moved.wav")).unwrap();
    fs::copy(home.path("music/02.wav"), home.path("music/copy.wav")).unwrap();
    fs::remove_file(home.path("music/04.wav")).unwrap();
    seeded::wav(&home.path("music/06.wav"), 2.5, 40);
    let said = index(&home, &["music"]);
    // 00 moved, 02 copied, 04 gone, 06 changed; the old place of 00 is gone as well.
    assert!(said.ends_with("12 tracks, 1 new or changed, 9 as before, 2 moved or copied, 2 gone"), "{said}");
    // Another folder does not remove the tracks of this one.
    fs::create_dir(home.path("more")).unwrap();
    seeded::wav(&home.path("more/x.wav"), 1.0, 50);
    fs::write(home.path("more/broken.mp3"), "no music").unwrap();
    let output = home.run(&[&["index"][..], &MODEL, &["more"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("broken.mp3") && said.contains("13 tracks, 1 new"), "{said}");
    // Another model needs an index of its own.
    seeded::export("cnn", &home.store());
    let said = home.fails(2, &["index", "--device", "cpu", "--model", "cnn", "more"]);
    assert!(said.contains("--rebuild") && said.contains("compact"), "{said}");
}

#[test]
fn similar_tracks_and_duplicates_are_found() {
    let home = home();
    fs::copy(home.path("music/02.wav"), home.path("music/copy.wav")).unwrap();
    index(&home, &["music"]);
    let similar = |rest: &[&str]| {
        rows(&home.ok(&[&["similar", "music/02.wav", "--format", "jsonl"][..], rest].concat()))
    };
    let found = similar(&[]);
    assert_eq!(found.len(), 12);
    assert!(found[0]["path"].as_str().unwrap().ends_with("copy.wav"), "{found:?}");
    assert_eq!((&found[0]["duplicate"], &found[1]["duplicate"]), (&"file".into(), &Value::Null));
    let cosine = |row: &Value| row["similarity"].as_f64().unwrap();
    assert!(cosine(&found[0]) > 0.999 && found.is_sorted_by(|a, b| cosine(a) >= cosine(b)));
    assert_eq!(paths(&similar(&["-n", "3"])), paths(&found[..3]));
    // A condition and its opposite divide the library.
    let with = similar(&["--where", "rock > 0.5 or jazz > 0.5"]);
    let without = similar(&["--where", "not (rock > 0.5 or jazz > 0.5)"]);
    assert_eq!(with.len() + without.len(), 12);
    let said = home.fails(2, &["similar", "music/02.wav", "--where", "polka"]);
    assert!(said.contains("polka") && said.contains("jazz"), "{said}");
    // A song outside of the index: the same audio is the nearest.
    fs::copy(home.path("music/08.wav"), home.path("outside.wav")).unwrap();
    let outside = rows(&home.ok(&["similar", "outside.wav", "-n", "2", "--format", "jsonl"]));
    assert!(outside[0]["path"].as_str().unwrap().ends_with("08.wav"), "{outside:?}");
    assert_eq!(outside[0]["duplicate"], "recording");
    let table = home.ok(&["similar", "music/02.wav"]);
    assert!(table.contains("copy  (the same file)"), "{table}");
}

#[test]
fn all_duplicates_are_listed_in_groups() {
    let home = home();
    index(&home, &["music"]);
    assert_eq!(home.ok(&["duplicates"]), "");
    fs::copy(home.path("music/02.wav"), home.path("music/copy.wav")).unwrap();
    // The same samples in both channels of a file.
    let mono = fs::read(home.path("music/b/05.wav")).unwrap();
    let samples = mono[mono.len() - 36_000..].as_chunks::<2>().0;
    let stereo: Vec<i16> = samples.iter().flat_map(|&word| [i16::from_le_bytes(word); 2]).collect();
    fs::write(home.path("music/a5.wav"), wav_i16(2, 12_000, &stereo)).unwrap();
    index(&home, &["music"]);
    let found = rows(&home.ok(&["duplicates", "--format", "jsonl"]));
    let names: Vec<&str> = found.iter().map(|row| row["path"].as_str().unwrap()).collect();
    let ends: Vec<bool> =
        names.iter().zip(["02.wav", "copy.wav", "05.wav", "a5.wav"]).map(|(a, b)| a.ends_with(b)).collect();
    assert_eq!(ends, [true; 4], "{names:?}");
    let column = |name: &str| found.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("group"), [1, 1, 2, 2]);
    assert_eq!(column("duplicate"), [Value::Null, "file".into(), Value::Null, "recording".into()]);
    let table = home.ok(&["duplicates"]);
    assert!(table.contains("copy.wav  (the same file)") && table.lines().count() == 6, "{table}");
    home.ok(&["duplicates", "-o", "twice.m3u8"]);
    assert_eq!(fs::read_to_string(home.path("twice.m3u8")).unwrap().lines().count(), 9);
}

#[test]
fn an_index_of_a_model_file_needs_the_file_for_other_songs() {
    let home = home();
    fs::copy(home.store().join(weights::own_file_name("compact")), home.path("own.safetensors")).unwrap();
    let model = "own.safetensors";
    let labels: Vec<String> = (0..50).map(|label| format!("label {label}")).collect();
    fs::write(home.path("labels.txt"), labels.join("\n")).unwrap();
    home.ok(&["index", "--device", "cpu", "--model", model, "--label-list", "labels.txt", "music"]);
    fs::copy(home.path("music/08.wav"), home.path("outside.wav")).unwrap();
    let said = home.fails(2, &["similar", "outside.wav"]);
    assert!(said.contains("--model FILE"), "{said}");
    let found = rows(&home.ok(&["similar", "outside.wav", "--model", model, "-n", "1", "--format", "jsonl"]));
    assert_eq!(found[0]["duplicate"], "recording");
    seeded::export("cnn", &home.store());
    let other = home.store().join(weights::own_file_name("cnn"));
    let said = home.fails(2, &["similar", "outside.wav", "--model", other.to_str().unwrap()]);
    assert!(said.contains("other weights"), "{said}");
}

#[test]
fn playlists_name_files_that_can_be_read() {
    let home = home();
    index(&home, &["music"]);
    fs::create_dir(home.path("lists")).unwrap();
    let list = home.path("lists/near.m3u8");
    home.ok(&["similar", "music/02.wav", "-n", "4", "-o", word(&list)]);
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.starts_with("#EXTM3U\n#EXTINF:") && text.contains("\n../music/"), "{text}");
    let read = home.ok(&[&["tag", "--files-from", word(&list), "--format", "jsonl"][..], &MODEL].concat());
    assert_eq!(rows(&read).iter().filter(|row| row["tags"].is_array()).count(), 4);
    // All tracks have a score of at least 0, and every one lasts 1 to 2.1 s.
    let all = home.ok(&["playlist", "rock >= 0", "-n", "100", "--format", "jsonl"]);
    assert_eq!(rows(&all).len(), 12);
    let short = rows(&home.ok(&["playlist", "rock >= 0", "--minutes", "0.1", "--format", "jsonl"]));
    let seconds: f64 = short.iter().map(|row| row["track_s"].as_f64().unwrap()).sum();
    assert!(seconds <= 6.0 && seconds > 4.0, "{seconds}");
    let best =
        rows(&home.ok(&["playlist", "rock >= 0", "--order", "score", "-n", "12", "--format", "jsonl"]));
    let mut sorted = (paths(&best), paths(&rows(&all)));
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let said = home.fails(2, &["playlist", "rock > 0.999999"]);
    assert!(said.contains("no track"), "{said}");
}

#[test]
fn a_path_leads_from_one_song_to_another() {
    let home = home();
    index(&home, &["music"]);
    let path =
        ["playlist", "--from", "music/00.wav", "--to", "music/b/11.wav", "-n", "5", "--format", "jsonl"];
    let found = paths(&rows(&home.ok(&path)));
    assert_eq!(found.len(), 5);
    assert!(found[0].ends_with("00.wav") && found[4].ends_with("11.wav"), "{found:?}");
    let said = home.fails(2, &["playlist", "--from", "music/00.wav", "--to", "gone.wav"]);
    assert!(said.contains("gone.wav") && said.contains("tagwave index"), "{said}");
}

#[test]
fn without_an_index_the_command_to_make_one_is_named() {
    let home = Home::new();
    for command in [&["similar", "a.wav"][..], &["playlist", "rock"]] {
        let said = home.fails(2, command);
        assert!(said.contains("tagwave index"), "{said}");
    }
    assert!(!Path::new(&home.path("data/tagwave/index")).exists());
}
