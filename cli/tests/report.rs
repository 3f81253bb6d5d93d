//! `tagwave report`: one file without requests, and its script in headless Chromium, also with 100,000 tracks.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::command::{Home, word};
use common::library::{MODEL, arguments, library};
use common::seeded;
use serde_json::{Value, json};

/// Results of `count` tracks with three tags.
fn results(home: &Home, count: usize) {
    let row = |index: usize| {
        let score = |tag: usize| ((index * (tag + 3)) % 101) as f64 / 101.0;
        let tags: Vec<Value> = ["rock", "jazz", "sad"]
            .iter()
            .enumerate()
            .map(|(i, tag)| json!({ "tag": tag, "score": score(i) }))
            .collect();
        let path = format!("music/artist {}/track {index:06} #1 <b>.mp3", index % 97);
        let row = json!({
            "schema": 2, "path": path, "model": "small", "compat": "corrected", "device": "cpu", "decoder": "x",
            "clip_start_s": 0.0, "track_s": 61.7, "tags": tags, "warnings": [],
        });
        format!("{row}\n")
    };
    fs::write(home.path("tags.jsonl"), (0..count).map(row).collect::<String>()).unwrap();
}

/// The page's elements after its script and `test` have run, as Chromium writes them; `None` without Chromium.
fn in_browser(home: &Home, page: &Path, test: &str, screenshot: Option<&Path>) -> Option<String> {
    let text = fs::read_to_string(page).unwrap();
    // A copy with a second script, which plays the user.
    let copy = page.with_extension("test.html");
    let script = format!("<script>window.onload = () => {{ {test} }};</script></body>");
    fs::write(&copy, text.replace("</body>", &script)).unwrap();
    let browser = ["chromium", "chromium-browser", "google-chrome"];
    for program in browser {
        let mut command = Command::new(program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ]);
        command.args([
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,1500",
            "--hide-scrollbars",
        ]);
        command
            .arg(format!("--user-data-dir={}", home.path("browser").display()))
            .env("HOME", home.path("."));
        match screenshot {
            Some(file) => command.arg(format!("--screenshot={}", file.display())),
            None => command.arg("--dump-dom"),
        };
        command.args(["--virtual-time-budget=20000"]).arg(format!("file://{}", copy.display()));
        if let Ok(output) = command.output() {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return Some(String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    println!("not run: no Chromium");
    None
}

/// Text of an attribute of the body, which the test script sets.
fn attribute<'a>(dom: &'a str, name: &str) -> &'a str {
    dom.split(&format!("data-{name}=\""))
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn a_page_is_complete_and_requests_nothing() {
    let home = Home::new();
    results(&home, 500);
    home.ok(&["report", "tags.jsonl", "-o", "out/report.html"].map(|word| word.replace("out/", "")));
    let text = fs::read_to_string(home.path("report.html")).unwrap();
    for tag in ["<link", "src=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!text.contains(tag), "{tag}");
    }
    // The only address is a name space.
    assert_eq!(text.matches("http://").count(), text.matches("http://www.w3.org/2000/svg").count());
    assert!(!text.contains("https://") && text.contains("default-src 'none'"));
    let data = text.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (data["names"].as_array().unwrap().len(), &data["labels"]),
        (500, &json!(["jazz", "rock", "sad"]))
    );
    assert_eq!((&data["lengths"][0], &data["lengths"][499]), (&json!(62), &json!(62)));
    assert_eq!(data["links"][0], "music/artist 0/track 000000 #1 <b>.mp3");
    let said = home.fails(2, &["report", "tags.jsonl", "-o", "x.json"]);
    assert!(said.contains("ends with .html"), "{said}");
    let said = home.fails(2, &["report", "-o", "x.html"]);
    assert!(said.contains("tagwave index"), "{said}");
}

#[test]
fn a_page_can_be_used() {
    let home = Home::new();
    results(&home, 500);
    home.ok(&["report", "tags.jsonl", "-o", "report.html"]);
    // Scores of rock: 500 numbers (3 i mod 101) / 101 in bytes; those of at least 0.5 are counted here.
    let expected = (0..500).filter(|i| ((i * 3 % 101) as f64 / 101.0 * 255.0).round() >= 0.5 * 255.0).count();
    let test = "
        const body = document.body.dataset, at = id => document.getElementById(id);
        body.rows = document.querySelectorAll('.row').length;
        at('threshold').value = 0.5; at('threshold').oninput();
        body.rock = document.querySelector('[data-tag=rock] .number').textContent;
        document.querySelector('[data-tag=rock]').click();
        body.count = at('count').textContent;
        at('search').value = 'TRACK 0001'; at('search').oninput();
        body.found = at('count').textContent;
        at('search').value = ''; at('search').oninput();
        document.querySelector('[data-key=name]').click();
        body.first = document.querySelector('.row .of-name').textContent;
        document.querySelector('.row').click();
        body.player = at('player').src;
        body.drawn = at('map').getContext('2d').getImageData(0, 0, at('map').width, at('map').height).data.some(v => v > 0);
        window.onerror = null;";
    let Some(dom) = in_browser(&home, &home.path("report.html"), test, None) else { return };
    assert_eq!(attribute(&dom, "ready"), "true");
    let rows: usize = attribute(&dom, "rows").parse().unwrap();
    assert!((10..80).contains(&rows), "{rows}");
    assert_eq!(attribute(&dom, "rock"), expected.to_string());
    assert_eq!(attribute(&dom, "count"), format!("{expected} tracks"));
    assert!(attribute(&dom, "found").ends_with(" tracks"));
    assert!(attribute(&dom, "first").starts_with("track 0004"), "{}", attribute(&dom, "first"));
    let player = attribute(&dom, "player");
    assert!(
        player.starts_with("file://")
            && player.contains("/music/artist%20")
            && player.contains("%231%20%3Cb%3E.mp3"),
        "{player}"
    );
    assert_eq!(attribute(&dom, "drawn"), "true");
}

#[test]
fn a_hundred_thousand_tracks_stay_fluid() {
    let home = Home::new();
    results(&home, 100_000);
    home.ok(&["report", "tags.jsonl", "-o", "report.html"]);
    let test = "
        const body = document.body.dataset, at = id => document.getElementById(id);
        const time = (name, work) => { const start = performance.now(); work(); at('table').offsetHeight; body[name] = (performance.now() - start).toFixed(1); };
        time('scroll', () => { for (let i = 0; i < 100; i++) { at('table').scrollTop = i * 20000; showRows(); } });
        time('search', () => { at('search').value = 'track 09'; at('search').oninput(); });
        time('sort', () => { document.querySelector('[data-key=tag]').click(); });
        time('draw', () => { for (let i = 0; i < 10; i++) drawNow(); });
        time('hover', () => { for (let i = 0; i < 10; i++) nearest({ clientX: 200, clientY: 300 }); });
        body.elements = document.querySelectorAll('*').length;";
    let Some(dom) = in_browser(&home, &home.path("report.html"), test, None) else { return };
    println!(
        "{} bytes; ms: 100 scrolls {}, search {}, sort {}, 10 maps {}, 10 moves {}; {} elements",
        fs::metadata(home.path("report.html")).unwrap().len(),
        attribute(&dom, "scroll"),
        attribute(&dom, "search"),
        attribute(&dom, "sort"),
        attribute(&dom, "draw"),
        attribute(&dom, "hover"),
        attribute(&dom, "elements"),
    );
    let elements: usize = attribute(&dom, "elements").parse().unwrap();
    assert!(elements < 1000, "{elements}: rows out of view must not be elements");
}

#[test]
fn an_index_and_songs_over_time_have_a_page() {
    let home = library(0);
    for seed in 0..8 {
        seeded::wav(&home.path(&format!("music/{seed}.wav")), 1.0 + f64::from(seed), seed);
    }
    home.ok(&[&["index"][..], &MODEL, &["music", "-q"]].concat());
    home.ok(&arguments(
        "tag",
        &["music/7.wav", "--clips", "all", "--per-clip", "--top", "50", "-o", "time.jsonl", "-q"],
    ));
    home.ok(&["report", "-o", "report.html", "--timeline", "time.jsonl"]);
    let text = fs::read_to_string(home.path("report.html")).unwrap();
    assert!(text.contains("\"links\":[\"music/0.wav\""), "links are relative to the page");
    let said = home.fails(2, &["report", "-o", "x.html", "--timeline", word(&home.path("report.html"))]);
    assert!(said.contains("line 1"), "{said}");
    let test = "document.body.dataset.lines = document.querySelectorAll('#timelines polyline').length;";
    let Some(dom) = in_browser(&home, &home.path("report.html"), test, None) else { return };
    assert_eq!(attribute(&dom, "lines"), "8");
    let picture = home.path("page.png");
    in_browser(&home, &home.path("report.html"), "", Some(&picture));
    let bytes = fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{}", bytes.len());
}
