//! `tagwave write`: all kinds of tags, undo byte for byte, interrupted runs, links, modes and sidecars.
//!
//! Songs are made by ffmpeg, and their tags and audio are read back by it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::command::{Home, word};
use serde_json::{Value, json};

/// Runs ffmpeg or ffprobe; `None` if it fails.
fn ff(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(["-v", "error"]).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes a song of 3 s with title and artist; `None` if ffmpeg cannot.
fn song(path: &Path, options: &[&str]) -> Option<()> {
    let source = ["-nostdin", "-y", "-f", "lavfi", "-i", "sine=440:duration=3"];
    let tags = ["-metadata", "title=A title \u{e9}\u{266b}", "-metadata", "artist=Someone"];
    ff("ffmpeg", &[&source[..], &tags, options, &[word(path)]].concat()).map(|_| ())
}

/// Makes a song with a cover.
fn song_with_cover(path: &Path, options: &[&str]) -> Option<()> {
    let sources = [
        "-nostdin",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "sine=440:duration=3",
        "-f",
        "lavfi",
        "-i",
        "color=red:size=64x64:duration=0.04",
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-frames:v",
        "1",
    ];
    let cover =
        ["-c:v", "png", "-disposition:v", "attached_pic", "-metadata", "title=A title \u{e9}\u{266b}"];
    let artist = ["-metadata", "artist=Someone"];
    ff("ffmpeg", &[&sources[..], &cover, &artist, options, &[word(path)]].concat()).map(|_| ())
}

/// Tags of a song by lower-case name, as ffprobe reads them.
fn tags(path: &Path) -> BTreeMap<String, String> {
    let text =
        ff("ffprobe", &["-show_entries", "format_tags:stream_tags", "-of", "json", word(path)]).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    let streams = found["streams"].as_array().cloned().unwrap_or_default();
    let lists = streams.iter().map(|stream| &stream["tags"]).chain([&found["format"]["tags"]]);
    let pairs = lists.filter_map(Value::as_object).flatten();
    pairs.map(|(key, value)| (key.to_lowercase(), value.as_str().unwrap().to_string())).collect()
}

/// Tags of a WAV file, whose ID3v2 chunk ffprobe does not read: as those of an MP3 file with the same tag.
fn chunk_tags(path: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(path).unwrap();
    let place = bytes.windows(4).rposition(|window| window == b"ID3 ").unwrap();
    let length = u32::from_le_bytes(bytes[place + 4..place + 8].try_into().unwrap()) as usize;
    let copy = path.with_extension("chunk.mp3");
    song(&copy, &["-map_metadata", "-1", "-id3v2_version", "0", "-write_xing", "0"]).unwrap();
    let audio = fs::read(&copy).unwrap();
    fs::write(&copy, [&bytes[place + 8..place + 8 + length], &audio].concat()).unwrap();
    let found = tags(&copy);
    fs::remove_file(copy).unwrap();
    found
}

/// Digest of the decoded audio, and number of pictures.
fn audio(path: &Path) -> (String, usize) {
    let hash = ff("ffmpeg", &["-nostdin", "-i", word(path), "-map", "0:a", "-f", "md5", "-"]).unwrap();
    let pictures =
        ff("ffprobe", &["-select_streams", "v", "-show_entries", "stream=index", "-of", "csv", word(path)]);
    (hash, pictures.unwrap().lines().count())
}

/// A row of results.
fn row(path: &Path, tags: &[(&str, f64)]) -> String {
    let tags: Vec<Value> = tags.iter().map(|(tag, score)| json!({ "tag": tag, "score": score })).collect();
    let row = json!({
        "schema": 2, "path": path, "model": "small", "compat": "corrected", "device": "cpu", "decoder": "symphonia",
        "clip_start_s": 0.0, "tags": tags, "warnings": [],
    });
    format!("{row}\n")
}

const TAGS: [(&str, f64); 4] = [("rock", 0.7), ("indie pop", 0.5), ("happy", 0.4), ("rnb", 0.1)];

/// Writes results for songs.
fn results(home: &Home, songs: &[PathBuf]) {
    let rows: String = songs.iter().map(|song| row(song, &TAGS)).collect();
    fs::write(home.path("tags.jsonl"), rows).unwrap();
}

/// The only journal of a home.
fn journal(home: &Home) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(home.path("state/tagwave/journals"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found.pop().unwrap()
}

/// A home with one song.
fn home_with(name: &str, options: &[&str]) -> Option<(Home, PathBuf)> {
    let home = Home::new();
    let path = home.path(name);
    if song(&path, options).is_none() {
        println!("not run: no ffmpeg that makes {name}");
        return None;
    }
    results(&home, std::slice::from_ref(&path));
    Some((home, path))
}

type MakeSong = fn(&Path, &[&str]) -> Option<()>;

/// Names of songs with the options that make them.
const SONGS: [(&str, MakeSong, &[&str]); 17] = [
    ("v23.mp3", song, &["-id3v2_version", "3"]),
    ("v24.mp3", song, &["-id3v2_version", "4"]),
    ("cover.mp3", song_with_cover, &["-id3v2_version", "3"]),
    ("both.mp3", song, &["-id3v2_version", "4", "-write_id3v1", "1"]),
    ("v1.mp3", song, &["-id3v2_version", "0", "-write_id3v1", "1"]),
    ("bare.mp3", song, &["-map_metadata", "-1", "-id3v2_version", "0", "-write_xing", "0"]),
    ("plain.flac", song, &[]),
    ("cover.flac", song_with_cover, &[]),
    ("a.ogg", song, &["-c:a", "libvorbis"]),
    ("a.opus", song, &["-c:a", "libopus"]),
    ("a.m4a", song, &[]),
    ("fast.m4a", song, &["-movflags", "+faststart"]),
    ("cover.m4a", song_with_cover, &[]),
    ("a.wav", song, &[]),
    ("a.aiff", song, &["-write_id3v2", "1"]),
    ("a.wv", song, &["-c:a", "wavpack"]),
    ("a.aac", song, &["-c:a", "aac"]),
];

#[test]
fn all_kinds_of_songs_are_written_and_restored_byte_for_byte() {
    let home = Home::new();
    let mut songs = Vec::new();
    for (name, make, options) in SONGS {
        let path = home.path(name);
        match make(&path, options) {
            Some(()) => songs.push(path),
            None => println!("not run: no ffmpeg that makes {name}"),
        }
    }
    if songs.is_empty() {
        return;
    }
    results(&home, &songs);
    let before: Vec<_> =
        songs.iter().map(|song| (fs::read(song).unwrap(), tags(song), audio(song))).collect();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_700);
    for song in &songs {
        fs::File::options().write(true).open(song).unwrap().set_modified(time).unwrap();
    }
    // Without --apply nothing changes.
    let shown = home.ok(&["write", "tags.jsonl"]);
    assert_eq!(shown.matches("+ genre: Rock").count(), songs.len(), "{shown}");
    for (song, (bytes, ..)) in songs.iter().zip(&before) {
        assert!(fs::read(song).unwrap() == *bytes, "{}", song.display());
    }
    assert!(!home.path("state").exists());
    home.ok(&["write", "tags.jsonl", "--apply"]);
    for (song, (bytes, old, sound)) in songs.iter().zip(&before) {
        let name = song.display();
        assert!(fs::read(song).unwrap() != *bytes, "{name}");
        assert_eq!(audio(song), *sound, "{name}");
        let mut new = tags(song);
        if song.extension().is_some_and(|extension| extension == "wav") {
            new.extend(chunk_tags(song));
        }
        let genre = new.get("genre").unwrap_or_else(|| panic!("{name}: {new:?}"));
        assert!(genre.contains("Rock") && !genre.contains("R&B"), "{name}: {genre}");
        // ffprobe shows one atom of several, and does not name TMOO.
        let mood = new.get("mood").or_else(|| new.get("tmoo"));
        assert_eq!(mood.map(String::as_str), Some("Happy"), "{name}: {new:?}");
        for (key, value) in old.iter().filter(|(key, _)| !matches!(key.as_str(), "genre" | "encoder")) {
            assert_eq!(new.get(key), Some(value), "{name}: {key}");
        }
        assert!(fs::metadata(song).unwrap().modified().unwrap() > time, "{name}");
    }
    // A second run has nothing to do.
    let again = home.ok(&["write", "tags.jsonl", "--format", "jsonl"]);
    assert_eq!(again.matches("\"unchanged\"").count(), songs.len(), "{again}");
    let journal = journal(&home);
    let undone = home.ok(&["write", "--undo", word(&journal)]);
    assert_eq!(undone.matches("restored").count(), songs.len());
    for (song, (bytes, ..)) in songs.iter().zip(&before) {
        assert!(fs::read(song).unwrap() == *bytes, "{}", song.display());
        assert_eq!(fs::metadata(song).unwrap().modified().unwrap(), time);
    }
    // The journal is a fraction of the songs: audio is not in it.
    let size = fs::metadata(&journal).unwrap().len();
    let all: usize = before.iter().map(|(bytes, ..)| bytes.len()).sum();
    println!("journal of {} songs of {all} bytes: {size} bytes", songs.len());
    assert!(size < all as u64 / 4, "{size} of {all}");
    assert_eq!(home.ok(&["write", "--undo", word(&journal)]).matches("as before").count(), songs.len());
}

#[test]
fn several_values_are_several_values() {
    let Some((home, path)) = home_with("a.flac", &[]) else { return };
    home.ok(&["write", "tags.jsonl", "--apply", "--keep-time"]);
    let found = tags(&path);
    assert_eq!(found["genre"], "Rock;Indie Pop", "{found:?}");
    let Some((home, path)) = home_with("a.mp3", &["-id3v2_version", "3"]) else { return };
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    home.ok(&["write", "tags.jsonl", "--apply", "--keep-time"]);
    assert_eq!(tags(&path)["genre"], "Rock; Indie Pop");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
    assert_eq!(&fs::read(&path).unwrap()[..4], b"ID3\x03");
}

#[test]
fn presets_and_mappings_decide_fields() {
    let Some((home, path)) = home_with("a.m4a", &["-metadata", "comment=bought 2009"]) else { return };
    let shown = home.ok(&["write", "tags.jsonl", "--preset", "rekordbox"]);
    assert!(shown.contains("+ comment: bought 2009 /* Rock / Indie Pop / Happy */"), "{shown}");
    let shown = home.ok(&["write", "tags.jsonl", "--preset", "foobar"]);
    assert!(shown.contains("+ genre: Rock\n") && shown.contains("+ STYLE: Rock | Indie Pop"), "{shown}");
    let shown = home.ok(&["write", "tags.jsonl", "--preset", "beets"]);
    assert!(shown.contains("+ genre: Rock, Indie Pop"), "{shown}");
    let own = home.ok(&["write", "--show-mapping"]).replace("\"Rock\"", "\"Loud\"");
    fs::write(home.path("mine.toml"), own).unwrap();
    home.ok(&["write", "tags.jsonl", "--mapping", "mine.toml", "--apply"]);
    let found = tags(&path);
    assert_eq!((&*found["genre"], &*found["comment"]), ("Loud", "bought 2009"));
    fs::write(home.path("mine.toml"), "[field.title]\n[tags]\nrock = 'x'\n").unwrap();
    let said = home.fails(2, &["write", "tags.jsonl", "--mapping", "mine.toml"]);
    assert!(said.contains("mine.toml") && said.contains("title"), "{said}");
}

#[test]
fn values_of_others_are_kept_and_own_ones_are_known_again() {
    let Some((home, path)) = home_with("a.ogg", &["-c:a", "libvorbis", "-metadata", "genre=Jazz"]) else {
        return;
    };
    let run = |more: &[&'static str]| {
        home.ok(&[&["write", "tags.jsonl", "--apply", "--provenance", "scores"][..], more].concat());
        tags(&path)
    };
    assert_eq!(run(&[])["genre"], "Jazz");
    assert_eq!(run(&["--mode", "merge"])["genre"], "Jazz;Rock;Indie Pop");
    // Other tags replace the program's own values only.
    fs::write(home.path("tags.jsonl"), row(&path, &[("folk", 0.9)])).unwrap();
    let found = run(&["--mode", "merge"]);
    assert_eq!(found["genre"], "Jazz;Folk");
    let own: Value = serde_json::from_str(&found["tagwave"]).unwrap();
    assert_eq!((&own["wrote"]["genre"], &own["scores"]["folk"]), (&json!(["Folk"]), &json!(0.9)));
    assert_eq!(run(&["--mode", "replace"])["genre"], "Folk");
}

#[test]
fn frames_that_a_version_lacks_are_not_lost() {
    let Some((home, path)) = home_with("a.mp3", &["-id3v2_version", "4", "-metadata", "artist-sort=Sorted"])
    else {
        return;
    };
    // Short frames are the same in ID3v2.3, where programs write this one although the version lacks it.
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.windows(4).any(|window| window == b"TSOP"));
    bytes[3] = 3;
    fs::write(&path, &bytes).unwrap();
    let said = home.fails(1, &["write", "tags.jsonl", "--apply", "--id3v2", "2.3"]);
    assert!(said.contains("TSOP"), "{said}");
    assert!(fs::read(&path).unwrap() == bytes);
    home.ok(&["write", "tags.jsonl", "--apply"]);
    assert_eq!(&fs::read(&path).unwrap()[..4], b"ID3\x04");
    let found = tags(&path);
    assert!(found.values().any(|value| value == "Sorted"), "{found:?}");
}

#[test]
fn odd_files_are_errors_of_their_own() {
    let Some((home, good)) = home_with("good.flac", &[]) else { return };
    let at = |name: &str| home.path(name);
    fs::write(at("text.mp3"), "no music").unwrap();
    fs::write(at("empty.flac"), "").unwrap();
    fs::create_dir(at("folder.mp3")).unwrap();
    let bytes = fs::read(&good).unwrap();
    fs::write(at("cut.flac"), &bytes[..40]).unwrap();
    fs::write(at("read-only.flac"), &bytes).unwrap();
    let mut rights = fs::metadata(at("read-only.flac")).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(at("read-only.flac"), rights).unwrap();
    let names = [
        "text.mp3",
        "empty.flac",
        "folder.mp3",
        "cut.flac",
        "read-only.flac",
        "gone.mp3",
        "good.flac",
        "good.flac",
    ];
    let rows: String = names.iter().map(|name| row(&at(name), &TAGS)).collect();
    // The same path twice is one track.
    fs::write(home.path("tags.jsonl"), rows).unwrap();
    let output = home.run(&["write", "tags.jsonl", "--apply", "--format", "jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcome = |row: &Value| row["result"].as_str().unwrap().to_string();
    assert_eq!(found.iter().filter(|row| outcome(row) == "failed").count(), 6, "{found:?}");
    assert_eq!(outcome(found.last().unwrap()), "written");
    assert!(found[4]["error"].as_str().unwrap().contains("read-only"), "{found:?}");
    assert!(tags(&good)["genre"].contains("Rock"));
    assert_eq!(fs::read(at("read-only.flac")).unwrap(), bytes);
}

#[cfg(unix)]
#[test]
fn links_are_treated_as_stated() {
    let Some((home, path)) = home_with("song.flac", &[]) else { return };
    let at = |name: &str| home.path(name);
    let old = fs::read(&path).unwrap();
    std::os::unix::fs::symlink("song.flac", at("link.flac")).unwrap();
    results(&home, &[at("link.flac"), path.clone()]);
    // The link stays a link, and its song is written once.
    let said = home.fails(1, &["write", "tags.jsonl", "--apply"]);
    assert!(said.contains("another name"), "{said}");
    assert!(at("link.flac").is_symlink() && fs::read(&path).unwrap() != old);
    home.ok(&["write", "--undo", word(&journal(&home))]);
    assert!(at("link.flac").is_symlink() && fs::read(&path).unwrap() == old);
    fs::hard_link(&path, at("second.flac")).unwrap();
    results(&home, std::slice::from_ref(&path));
    let said = home.fails(1, &["write", "tags.jsonl", "--apply"]);
    assert!(said.contains("--break-hard-links"), "{said}");
    home.ok(&["write", "tags.jsonl", "--apply", "--break-hard-links"]);
    assert!(fs::read(&path).unwrap() != old && fs::read(at("second.flac")).unwrap() == old);
}

#[test]
fn one_run_at_a_time_and_no_journal_is_replaced() {
    let Some((home, path)) = home_with("song.flac", &[]) else { return };
    let state = home.path("state/tagwave");
    fs::create_dir_all(&state).unwrap();
    let lock = fs::File::create(state.join("write.lock")).unwrap();
    lock.lock().unwrap();
    let said = home.fails(2, &["write", "tags.jsonl", "--apply"]);
    assert!(said.contains("another `tagwave write`"), "{said}");
    home.ok(&["write", "tags.jsonl"]);
    drop(lock);
    fs::write(home.path("j.jsonl"), "precious").unwrap();
    let said = home.fails(2, &["write", "tags.jsonl", "--apply", "--journal", "j.jsonl"]);
    assert!(said.contains("j.jsonl"), "{said}");
    assert_eq!(fs::read(home.path("j.jsonl")).unwrap(), b"precious");
    let said = home.fails(2, &["write", "--undo", "j.jsonl"]);
    assert!(said.contains("expected a journal"), "{said}");
    // A song that was changed since is not restored.
    home.ok(&["write", "tags.jsonl", "--apply", "--journal", "k.jsonl"]);
    fs::write(&path, "something else").unwrap();
    let said = home.fails(1, &["write", "--undo", "k.jsonl"]);
    assert!(said.contains("changed since"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), b"something else");
}

#[test]
fn sidecars_leave_songs_alone() {
    let Some((home, path)) = home_with("song.flac", &[]) else { return };
    let old = fs::read(&path).unwrap();
    home.ok(&["write", "tags.jsonl", "--sidecar", "json"]);
    assert!(!home.path("song.flac.json").exists());
    home.ok(&["write", "tags.jsonl", "--sidecar", "json", "--apply"]);
    let found: Value =
        serde_json::from_str(&fs::read_to_string(home.path("song.flac.json")).unwrap()).unwrap();
    assert_eq!(found["wrote"], json!({ "genre": ["Rock", "Indie Pop"], "mood": ["Happy"] }));
    home.ok(&["write", "--undo", word(&journal(&home))]);
    assert!(!home.path("song.flac.json").exists());
    fs::write(home.path("song.nfo"), "by hand").unwrap();
    let said = home.fails(1, &["write", "tags.jsonl", "--sidecar", "nfo", "--apply"]);
    assert!(said.contains("not written by tagwave"), "{said}");
    fs::remove_file(home.path("song.nfo")).unwrap();
    home.ok(&["write", "tags.jsonl", "--sidecar", "nfo", "--apply"]);
    let text = fs::read_to_string(home.path("song.nfo")).unwrap();
    assert!(text.contains("<genre>Rock</genre>") && text.contains("<mood>Happy</mood>"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), old);
}

#[test]
fn songs_are_tagged_and_written_in_one_run() {
    let home = common::library::library(0);
    if song(&home.path("music/a.flac"), &[]).is_none() {
        return println!("not run: no ffmpeg that makes a.flac");
    }
    let run = ["write", "--threshold", "0", "--apply", "music"];
    home.ok(&[&run[..], &common::library::MODEL].concat());
    assert!(tags(&home.path("music/a.flac")).contains_key("genre"));
}

/// Kills runs at several moments: each song has its old or its new contents, and --undo restores all.
#[test]
fn a_killed_run_leaves_whole_songs() {
    let Some((home, path)) = home_with("song.flac", &[]) else { return };
    let old = fs::read(&path).unwrap();
    home.ok(&["write", "tags.jsonl", "--apply"]);
    let new = fs::read(&path).unwrap();
    let songs: Vec<PathBuf> = (0..120).map(|index| home.path(&format!("{index}.flac"))).collect();
    results(&home, &songs);
    let mut all_written = 0;
    for delay_ms in [10, 60, 120] {
        songs.iter().for_each(|song| fs::write(song, &old).unwrap());
        let mut child = common::library::spawn(&home, &["write", "tags.jsonl", "--apply"]);
        // The run has begun when its journal has lines.
        let begun = journal(&home);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while (journal(&home) == begun || fs::metadata(journal(&home)).unwrap().len() < 1000)
            && std::time::Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let contents: Vec<Vec<u8>> = songs.iter().map(|song| fs::read(song).unwrap()).collect();
        assert!(contents.iter().all(|bytes| *bytes == old || *bytes == new));
        let written = contents.iter().filter(|bytes| **bytes == new).count();
        println!("killed after {written} of {} songs", songs.len());
        all_written += written;
        home.ok(&["write", "--undo", word(&journal(&home))]);
        assert!(songs.iter().all(|song| fs::read(song).unwrap() == old));
        let left = fs::read_dir(home.path(".")).unwrap().flatten();
        assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part")).count(), 0);
    }
    assert!(all_written > 0);
}

#[test]
fn songs_that_stay_are_counted_by_reason_and_leave_no_journal() {
    let Some((home, path)) = home_with("song.flac", &[]) else { return };
    let apply = |rows: &str| {
        fs::write(home.path("tags.jsonl"), rows).unwrap();
        String::from_utf8(home.run(&["write", "tags.jsonl", "--apply"]).stderr).unwrap()
    };
    let has_journals = || fs::read_dir(home.path("state/tagwave/journals")).unwrap().next().is_some();
    let said = apply(&row(&path, &[("rock", 0.01)]));
    assert!(said.contains("0 files changed, 0 with values already, 1 without a score"), "{said}");
    assert!(!has_journals() && !said.contains("journal:"), "{said}");
    // Tags of a model of one's own.
    let said = apply(&row(&path, &[("my tag", 0.9)]));
    assert!(said.contains("no field takes any of the tags (my tag)"), "{said}");
    let said = apply(&row(&path, &TAGS));
    assert!(said.contains("1 file changed") && said.contains("journal:") && has_journals(), "{said}");
    let said = apply(&row(&path, &TAGS));
    assert!(said.contains("0 files changed, 1 with values already, 0 without"), "{said}");
}
