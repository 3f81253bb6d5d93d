//! `tagwave eval` and `tag --thresholds`: inputs, reports, thresholds and errors.

mod common;

use std::fs;

use common::command::{Home, word};
use common::{in_repository, seeded};
use serde_json::Value;

/// Predictions of six tracks by three artists for two tags.
const SCORES: [(&str, f64, f64); 6] = [
    ("m/a1.mp3", 0.9, 0.1),
    ("m/a2.mp3", 0.8, 0.4),
    ("m/b1.mp3", 0.7, 0.3),
    ("m/b2.mp3", 0.3, 0.6),
    ("m/c1.mp3", 0.2, 0.8),
    ("m/c2.mp3", 0.1, 0.2),
];

/// Labels of the tracks: `b1` contradicts rock. By the definition as pairs in order, ROC-AUC of rock is 5/8 + ...: see
/// the tests.
const LABELS: &str = "path,artist,rock,jazz,year\na1.mp3,A,1,0,1990\na2.mp3,A,1,0,1991\nb1.mp3,B,0,0,1992\n\
                      b2.mp3,B,1,1,1993\nc1.mp3,C,0,1,1994\nc2.mp3,C,0,0,1995\n";

fn row(path: &str, tags: &[(&str, f64)]) -> String {
    let mut tags: Vec<_> = tags.to_vec();
    tags.sort_by(|a, b| b.1.total_cmp(&a.1));
    let tags: Vec<Value> =
        tags.iter().map(|(tag, score)| serde_json::json!({ "tag": tag, "score": score })).collect();
    let row = serde_json::json!({
        "schema": 2, "path": path, "model": "small", "compat": "corrected", "device": "cpu", "decoder": "symphonia",
        "clip_start_s": 0.0, "tags": tags, "warnings": [],
    });
    format!("{row}\n")
}

/// A home with predictions `p.jsonl` and labels `l.csv`.
fn home() -> Home {
    let home = Home::new();
    let rows: String =
        SCORES.iter().map(|(path, rock, jazz)| row(path, &[("rock", *rock), ("jazz", *jazz)])).collect();
    fs::write(home.path("p.jsonl"), rows).unwrap();
    fs::write(home.path("l.csv"), LABELS).unwrap();
    home
}

fn json(home: &Home, rest: &[&str]) -> Value {
    let arguments = [&["eval", "--labels", "l.csv", "--format", "json"][..], rest].concat();
    serde_json::from_str(&home.ok(&arguments)).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn figures_that_were_computed_by_hand() {
    let home = home();
    let found = json(
        &home,
        &["p.jsonl", "--group", "artist", "--bootstrap", "50", "--threshold", "0.5", "--top", "1"],
    );
    assert_eq!((&found["schema"], &found["tracks"], &found["groups"]), (&1.into(), &6.into(), &3.into()));
    let (jazz, rock) = (&found["tags"][0], &found["tags"][1]);
    assert_eq!((&jazz["tag"], &rock["tag"]), (&"jazz".into(), &"rock".into()));
    // Of the nine pairs of a track with rock and one without, b2 is below b1.
    assert!((number(&rock["roc_auc"]["value"]) - 8.0 / 9.0).abs() < 1e-12);
    // Precision is 1, 1 and 3/4 at the three tracks with rock.
    assert!((number(&rock["pr_auc"]["value"]) - 2.75 / 3.0).abs() < 1e-12);
    assert_eq!((&jazz["roc_auc"]["value"], &jazz["positives"]), (&1.0.into(), &2.into()));
    // At 0.5 rock has two hits, one false alarm and one miss.
    let at = &rock["at_threshold"];
    assert!((number(&at["f1"]) - 2.0 / 3.0).abs() < 1e-12 && at["true_negatives"] == 2);
    let macro_auc = number(&found["overall"]["macro"]["roc_auc"]["value"]);
    assert!((macro_auc - 17.0 / 18.0).abs() < 1e-12);
    // Four tracks have a tag, and it is the highest of each.
    assert_eq!(
        found["overall"]["top"][0],
        serde_json::json!({"k": 1, "tracks": 4, "hit_rate": 1.0, "precision": 1.0, "recall": 0.875})
    );
    let interval = &rock["roc_auc"]["interval"];
    assert!(number(&interval["low"]) <= number(&interval["high"]), "{interval}");
    // The year is no tag.
    assert_eq!(found["unmatched"]["label_tags"]["count"], 0);
    let again = json(
        &home,
        &["p.jsonl", "--group", "artist", "--bootstrap", "50", "--threshold", "0.5", "--top", "1"],
    );
    assert_eq!(found, again);
    let other_seed = [
        "p.jsonl",
        "--group",
        "artist",
        "--bootstrap",
        "50",
        "--threshold",
        "0.5",
        "--top",
        "1",
        "--seed",
        "9",
    ];
    assert_ne!(found["overall"], json(&home, &other_seed)["overall"]);
}

#[test]
fn text_and_html_say_the_same() {
    let home = home();
    let text = home.ok(&["eval", "p.jsonl", "--labels", "l.csv", "--bootstrap", "0"]);
    assert!(text.contains("6 tracks, 2 tags") && text.contains("macro (2 of 2 tags)    0.944"), "{text}");
    let row = text.lines().find(|line| line.starts_with("rock ")).unwrap();
    assert!(row.contains("0.889") && row.contains("0.917") && row.contains("0.200"), "{row}");
    home.ok(&["eval", "p.jsonl", "--labels", "l.csv", "--format", "html", "-o", "r.html"]);
    let page = fs::read_to_string(home.path("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("0.889") && !page.contains("http") && !page.contains("<script"));
}

#[test]
fn all_forms_of_labels_are_the_same() {
    let home = home();
    let wide = json(&home, &["p.jsonl", "--group", "artist", "--bootstrap", "20"]);
    let long = "file,tag,artist\na1.mp3,rock,A\na2.mp3,rock,A\nb1.mp3,,B\nb2.mp3,rock,B\nb2.mp3,jazz,B\nc1.mp3,jazz,C\nc2.mp3,,C\n";
    let lines = "{\"id\":\"a1\",\"tags\":[\"rock\"],\"artist\":\"A\"}\n{\"id\":\"a2\",\"tags\":[\"rock\"],\"artist\":\"A\"}\n\
                 {\"id\":\"b1\",\"tags\":[],\"artist\":\"B\"}\n{\"id\":\"b2\",\"tags\":[\"rock\",\"jazz\"],\"artist\":\"B\"}\n\
                 {\"id\":\"c1\",\"tags\":{\"jazz\":1},\"artist\":\"C\"}\n{\"id\":\"c2\",\"tags\":{\"rock\":0},\"artist\":\"C\"}\n";
    for (text, rest) in [(long, ["--path-column", "file"]), (lines, ["--key", "id"])] {
        fs::write(home.path("l.csv"), text).unwrap();
        let found =
            json(&home, &[&["p.jsonl", "--group", "artist", "--bootstrap", "20"][..], &rest].concat());
        assert_eq!((&found["tags"], &found["overall"]), (&wide["tags"], &wide["overall"]), "{text}");
    }
}

#[test]
fn what_has_no_counterpart_is_named() {
    let home = home();
    let labels = LABELS.to_string().replace("c2.mp3,C,0,0", "none.mp3,C,0,0").replace("jazz", "polka");
    fs::write(home.path("l.csv"), labels).unwrap();
    let ended = home.run(&["eval", "p.jsonl", "--labels", "l.csv"]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    for line in [
        "1 labelled tracks without a prediction: none.mp3",
        "1 predictions without labels: m/c2.mp3",
        "1 labels that are not predicted: polka",
        "1 predicted tags without labels: jazz",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let found = json(&home, &["p.jsonl", "-q"]);
    assert_eq!(found["unmatched"]["labels"], serde_json::json!({"count": 1, "first": ["none.mp3"]}));
    assert_eq!(found["tracks"], 5);
}

#[test]
fn a_mapping_joins_tags() {
    let home = home();
    fs::write(home.path("map.txt"), "# both\nloud = max(rock, jazz)\nrock = rock\n").unwrap();
    fs::write(home.path("l.csv"), "path,loud,rock\na1.mp3,1,1\nc1.mp3,1,0\nc2.mp3,0,0\n").unwrap();
    let found = json(&home, &["p.jsonl", "--mapping", "map.txt"]);
    assert_eq!(
        (&found["tags"][0]["tag"], &found["tags"][0]["roc_auc"]["value"]),
        (&"loud".into(), &1.0.into())
    );
    assert_eq!(found["unmatched"]["label_tags"]["count"], 0);
    fs::write(home.path("map.txt"), "loud = max(rock, polka)\n").unwrap();
    let said = home.fails(2, &["eval", "p.jsonl", "--labels", "l.csv", "--mapping", "map.txt"]);
    assert!(said.contains("map.txt: unknown tag \"polka\": expected one of jazz, rock"), "{said}");
    fs::write(home.path("map.txt"), "\nloud = most(rock)\n").unwrap();
    let said = home.fails(2, &["eval", "p.jsonl", "--labels", "l.csv", "--mapping", "map.txt"]);
    assert!(said.contains("map.txt: line 2: unknown function \"most\""), "{said}");
}

#[test]
fn two_predictions_are_compared_on_the_same_tracks() {
    let home = home();
    let rows: String = SCORES[1..]
        .iter()
        .map(|(path, rock, jazz)| row(path, &[("rock", 1.0 - rock), ("jazz", *jazz)]))
        .collect();
    fs::write(home.path("other.jsonl"), rows).unwrap();
    let found = json(&home, &["p.jsonl", "--compare", "other.jsonl", "--bootstrap", "100"]);
    let rock = &found["comparison"]["tags"][1]["roc_auc"];
    // Of five tracks, five of six pairs are in order, and one of six is where scores are reversed.
    assert!((number(&rock["first"]) - 5.0 / 6.0).abs() < 1e-12, "{rock}");
    assert!((number(&rock["second"]) - 1.0 / 6.0).abs() < 1e-12, "{rock}");
    assert_eq!(found["comparison"]["tags"][0]["roc_auc"]["difference"], 0.0);
    assert_eq!(found["unmatched"]["compared"]["first"], serde_json::json!(["a1.mp3"]));
    let text = home.ok(&["eval", "p.jsonl", "--labels", "l.csv", "--compare", "other.jsonl", "-q"]);
    assert!(text.contains("compared with other.jsonl: first, second, first - second"), "{text}");
}

#[test]
fn mistakes_are_usage_errors() {
    let home = home();
    fs::write(
        home.path("partial.jsonl"),
        row("m/a1.mp3", &[("rock", 0.5)]) + &row("m/a2.mp3", &[("jazz", 0.5)]),
    )
    .unwrap();
    fs::write(home.path("numbers.csv"), "path,rock\na1.mp3,1\na2.mp3,7\n").unwrap();
    fs::write(home.path("elsewhere.csv"), "path,rock\nx.mp3,1\n").unwrap();
    fs::write(home.path("tags.csv"), "path,polka\na1.mp3,1\n").unwrap();
    let old = fs::read_to_string(home.path("p.jsonl")).unwrap().replace("\"schema\":2", "\"schema\":1");
    fs::write(home.path("old.jsonl"), old).unwrap();
    for (arguments, code, message) in [
        (&["p.jsonl"][..], 2, "--labels"),
        (&["p.jsonl", "--labels", "none.csv"], 2, "none.csv: "),
        (
            &["p.jsonl", "--labels", "numbers.csv"],
            2,
            "numbers.csv: line 3, column \"rock\": expected 0 or 1, found \"7\"",
        ),
        (&["p.jsonl", "--labels", "elsewhere.csv"], 2, "no track in common"),
        (&["p.jsonl", "--labels", "tags.csv"], 2, "no tag in common: labels have polka"),
        (&["partial.jsonl", "--labels", "l.csv"], 2, "--missing 0"),
        (&["p.jsonl", "partial.jsonl", "--labels", "l.csv"], 2, "tagwave merge"),
        (&["p.jsonl", "--labels", "l.csv", "--key", "nothing"], 2, "expected a column \"nothing\""),
        (&["p.jsonl", "--labels", "l.csv", "--at-precision", "0.5"], 2, "--fit-thresholds"),
        (&["old.jsonl", "--labels", "l.csv"], 1, "expected rows of schema 2, found schema 1"),
    ] {
        let said = home.fails(code, &[&["eval"][..], arguments].concat());
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
    let found = json(&home, &["partial.jsonl", "--missing", "0"]);
    assert_eq!(found["tracks"], 2);
}

/// 60 tracks of 60 artists with a tag above 0.5, and one exception.
fn many(home: &Home) {
    let (mut rows, mut labels) = (String::new(), "path,rock\n".to_string());
    for track in 0..60u32 {
        let score = (f64::from(track) + 0.5) / 60.0;
        rows += &row(&format!("{track}.mp3"), &[("rock", score), ("jazz", 1.0 - score)]);
        labels += &format!("{track}.mp3,{}\n", u8::from(track >= 30 || track == 4));
    }
    fs::write(home.path("many.jsonl"), rows).unwrap();
    fs::write(home.path("many.csv"), labels).unwrap();
}

#[test]
fn thresholds_are_fitted_and_used() {
    let home = Home::new();
    many(&home);
    let fit =
        ["eval", "many.jsonl", "--labels", "many.csv", "--bootstrap", "0", "--fit-thresholds", "t.toml"];
    let text = home.ok(&fit);
    assert!(text.contains("tracks left out of the fit"), "{text}");
    let file = fs::read_to_string(home.path("t.toml")).unwrap();
    for line in [
        "schema = 1",
        "model = \"small\"",
        "goal = \"best F1\"",
        "tag = \"rock\"",
        "threshold = 0.5",
        "platt = [",
    ] {
        assert!(file.contains(line), "{file}");
    }
    // The thresholds of a file, on the same tracks.
    fs::copy(home.path("many.csv"), home.path("l.csv")).unwrap();
    let found = json(&home, &["many.jsonl", "--thresholds", "t.toml", "--bootstrap", "0"]);
    let at = &found["tags"][0];
    assert_eq!((&at["threshold"], &at["at_threshold"]["true_positives"]), (&0.5.into(), &30.into()));
    let rules = fs::read_to_string(home.path("t.toml")).unwrap();
    fs::write(home.path("crnn.toml"), rules.replace("\"small\"", "\"crnn\"")).unwrap();
    let said = home.fails(2, &["eval", "many.jsonl", "--labels", "l.csv", "--thresholds", "crnn.toml"]);
    assert!(said.contains("crnn.toml: the thresholds are for --model crnn, not small"), "{said}");
    let precise = ["--fit-thresholds", "t.toml", "--at-precision", "0.99", "--calibration", "temperature"];
    let found = json(&home, &[&["many.jsonl", "--bootstrap", "0"][..], &precise].concat());
    assert_eq!(found["fitted"]["tags"][0]["fit"]["precision"], 1.0);
    assert!(number(&found["fitted"]["temperature"]) > 0.0);
    assert!(
        fs::read_to_string(home.path("t.toml"))
            .unwrap()
            .contains("goal = \"precision 0.99\"\ntemperature = ")
    );
}

/// Tags of the only row on standard output.
fn tags(text: &str) -> Vec<(String, f64)> {
    let row: Value = serde_json::from_str(text).unwrap();
    let tag = |tag: &Value| (tag["tag"].as_str().unwrap().to_string(), number(&tag["score"]));
    row["tags"].as_array().unwrap().iter().map(tag).collect()
}

#[test]
fn tag_prints_only_what_passes_its_threshold() {
    let home = Home::new();
    let demo = in_repository("assets/demo.ogg");
    let tag = |rest: &[&str]| -> Vec<(String, f64)> {
        let arguments = ["tag", word(&demo), "--model", "small", "--device", "cpu", "-q"];
        tags(&home.ok(&[&arguments[..], rest].concat()))
    };
    let all = tag(&["--top", "50"]);
    assert_eq!(all.len(), 50);
    let ((first, high), (second, low)) = (all[0].clone(), all[1].clone());
    let rules = |model: &str| {
        format!(
            "schema = 1\nmodel = \"{model}\"\ncompat = \"corrected\"\ngoal = \"best F1\"\n\
             [[tags]]\ntag = \"{first}\"\nthreshold = {}\nplatt = [1.0, 0.5]\n\
             [[tags]]\ntag = \"{second}\"\nthreshold = {}\n\
             [[tags]]\ntag = \"either\"\nfrom = \"max({first}, {second})\"\nthreshold = 0.0\n\
             [[tags]]\ntag = \"{}\"\n",
            high - 0.01,
            low + 0.01,
            all[2].0
        )
    };
    fs::write(home.path("t.toml"), rules("small")).unwrap();
    let found = tag(&["--thresholds", "t.toml"]);
    assert_eq!(found, [(first.clone(), high), ("either".into(), high)]);
    let calibrated = tag(&["--thresholds", "t.toml", "--calibrated"]);
    let expected = 1.0 / (1.0 + (-((high / (1.0 - high)).ln() + 0.5)).exp());
    assert_eq!(calibrated[0].0, first);
    assert!((calibrated[0].1 - expected).abs() < 1e-5, "{calibrated:?} {expected}");
    fs::write(home.path("t.toml"), rules("crnn")).unwrap();
    let start = ["tag", word(&demo), "--model", "small", "--device", "cpu", "-q"];
    let said = home.fails(2, &[&start[..], &["--thresholds", "t.toml"]].concat());
    assert!(said.contains("t.toml: the thresholds are for --model crnn, not small"), "{said}");
    home.fails(2, &[&start[..], &["--calibrated"]].concat());
    home.fails(2, &[&start[..], &["--thresholds", "t.toml", "--top", "3"]].concat());
}

#[test]
fn audio_and_every_format_give_the_same_figures() {
    let home = Home::new();
    fs::create_dir(home.path("music")).unwrap();
    for kind in 0..3 {
        seeded::wav(&home.path(&format!("music/{kind}.wav")), 20.0 + f64::from(kind), kind);
    }
    fs::write(home.path("l.csv"), "path,rock,jazz,electronic\n0.wav,1,0,0\n1.wav,0,1,0\n2.wav,0,1,1\n")
        .unwrap();
    let model = ["--model", "small", "--device", "cpu", "-q"];
    let report = |rest: &[&str]| json(&home, &[rest, &["--bootstrap", "0", "-q"]].concat());
    let from_audio = json(&home, &[&["music", "--bootstrap", "0"][..], &model].concat());
    assert_eq!((&from_audio["tracks"], &from_audio["model"]), (&3.into(), &"small".into()));
    for file in ["p.jsonl", "p.csv"] {
        home.ok(&[&["tag", "music", "--top", "50", "-o", file][..], &model].concat());
        let found = report(&[file]);
        assert_eq!(found["overall"]["macro"]["roc_auc"], from_audio["overall"]["macro"]["roc_auc"], "{file}");
        let difference = number(&found["overall"]["brier"]) - number(&from_audio["overall"]["brier"]);
        assert!(difference.abs() < 1e-6, "{file}: {difference}");
        assert_eq!(found["unmatched"]["predicted_tags"]["count"], 47);
    }
    // The scores as numbers without names.
    home.ok(&[&["embed", "music", "--tap", "scores", "-o", "p.npy"][..], &model].concat());
    let names = in_repository("weights/labels/lastfm50.txt");
    let found = report(&["p.npy", "--names", word(&names)]);
    assert_eq!(found["overall"]["macro"], from_audio["overall"]["macro"]);
    let said = home.fails(2, &["eval", "p.npy", "--labels", "l.csv"]);
    assert!(said.contains("--names"), "{said}");
    if cfg!(feature = "parquet") {
        home.ok(&[&["tag", "music", "--top", "50", "-o", "p.parquet"][..], &model].concat());
        let found = report(&["p.parquet"]);
        assert_eq!((&found["overall"], &found["tags"]), (&from_audio["overall"], &from_audio["tags"]));
    }
    // A file that fails is counted, and the others are evaluated.
    fs::write(home.path("music/broken.mp3"), "no music").unwrap();
    let arguments = ["eval", "music", "--labels", "l.csv", "--format", "json", "--bootstrap", "0"];
    let ended = home.run(&[&arguments[..], &model].concat());
    assert_eq!(ended.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&found["failed"], &found["tracks"]), (&1.into(), &3.into()));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("broken.mp3"));
}

#[test]
fn help_explains_inputs() {
    let help = Home::new().ok(&["eval", "--help"]);
    for words in ["--labels", "max(dance, funk)", "docs/evaluation.md"] {
        assert!(help.contains(words), "{help}");
    }
}
