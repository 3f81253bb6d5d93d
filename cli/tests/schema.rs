//! The version of the row schema: rows of an older version are refused, not mixed with new ones.

mod common;

use std::fs;

use common::command::Home;
use common::seeded;

const TAG: [&str; 8] = ["tag", "a.wav", "--model", "small", "--device", "cpu", "-q", "-o"];

fn home() -> Home {
    let home = Home::new();
    seeded::wav(&home.path("a.wav"), 31.0, 1);
    home
}

fn tag(output: &str, rest: &[&'static str]) -> Vec<String> {
    TAG.iter().copied().chain([output]).chain(rest.iter().copied()).map(String::from).collect()
}

#[test]
fn rows_have_schema_2_and_their_compatibility() {
    let home = home();
    home.ok(&tag("a.jsonl", &[]));
    let row = fs::read_to_string(home.path("a.jsonl")).unwrap();
    assert!(row.starts_with("{\"schema\":2,") && row.contains("\"compat\":\"corrected\""), "{row}");
    assert!(!row.contains("reading"), "{row}");
}

#[test]
fn merge_refuses_rows_of_schema_1() {
    let home = home();
    home.ok(&tag("a.jsonl", &[]));
    home.ok(&tag("a.csv", &[]));
    for (name, of_2, of_1) in
        [("a.jsonl", "\"schema\":2", "\"schema\":1"), ("a.csv", ",symphonia,2\n", ",symphonia,1\n")]
    {
        let rows = fs::read_to_string(home.path(name)).unwrap();
        assert!(rows.contains(of_2), "{rows}");
        let old = format!("old-{name}");
        fs::write(home.path(&old), rows.replace(of_2, of_1)).unwrap();
        let merged = format!("merged-{name}");
        home.ok(&["merge", "-o", &merged, name]);
        for inputs in [[&*old, name], [name, &*old]] {
            let errors = home.fails(1, &[&["merge", "-o", "new"][..], &inputs].concat());
            assert!(
                errors.contains(&old) && errors.contains("expected rows of schema 2, found schema 1"),
                "{errors}"
            );
        }
    }
    // A file of schema 1 as it was written: with the column or field that is no more.
    fs::write(home.path("old.csv"), "path,path_bytes,model,reading,schema\na.wav,,small,restored,1\n")
        .unwrap();
    let errors = home.fails(1, &["merge", "-o", "new.csv", "old.csv"]);
    assert!(errors.contains("found schema 1"), "{errors}");
    let row = "{\"schema\":1,\"path\":\"a.wav\",\"model\":\"small\",\"reading\":\"restored\",\"tags\":[]}\n";
    fs::write(home.path("old.jsonl"), row).unwrap();
    let errors = home.fails(1, &["merge", "-o", "new.jsonl", "old.jsonl"]);
    assert!(errors.contains("found schema 1"), "{errors}");
    assert!(!home.path("new.csv").exists() && !home.path("new.jsonl").exists());
}

#[test]
fn resume_refuses_rows_of_schema_1() {
    let home = home();
    home.ok(&tag("a.jsonl", &[]));
    let journal = fs::read_to_string(home.path("a.jsonl.journal")).unwrap();
    assert!(journal.starts_with("tagwave journal 1 schema 2\n"), "{journal}");
    home.ok(&tag("a.jsonl", &["--resume"]));
    // Journals of schema 1 did not name it.
    let old = journal.replacen(" schema 2", "", 1);
    fs::write(home.path("a.jsonl.journal"), &old).unwrap();
    let rows = fs::read(home.path("a.jsonl")).unwrap();
    let errors = home.fails(1, &tag("a.jsonl", &["--resume"]));
    assert!(errors.contains("its rows have schema 1") && errors.contains("--overwrite"), "{errors}");
    assert_eq!(fs::read(home.path("a.jsonl")).unwrap(), rows);
    assert_eq!(fs::read_to_string(home.path("a.jsonl.journal")).unwrap(), old);
    home.ok(&tag("a.jsonl", &["--overwrite"]));
    home.ok(&tag("a.jsonl", &["--resume"]));
}

#[test]
fn resume_refuses_parts_of_schema_1() {
    let home = home();
    let embed = |rest: &[&'static str]| -> Vec<String> {
        let mut words = tag("parts", rest);
        words[0] = "embed".into();
        words.extend(["--format", "npy"].map(String::from));
        words
    };
    home.ok(&embed(&[]));
    home.ok(&embed(&["--resume"]));
    let keys = home.path("parts/_part-00000.keys");
    let text = fs::read_to_string(&keys).unwrap();
    let old = text.strip_prefix("schema 2\n").unwrap();
    fs::write(&keys, old).unwrap();
    let errors = home.fails(1, &embed(&["--resume"]));
    assert!(errors.contains("part-00000") && errors.contains("its rows have schema 1"), "{errors}");
}
