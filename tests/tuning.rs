//! The table of built-in choices is what the committed records give, and names configurations that exist.
#![cfg(feature = "gpu")]

#[path = "../xtask/src/tuning.rs"]
mod tuning;

use std::collections::BTreeSet;
use std::path::Path;

use tagwave::kernels::{LayerKey, Limits, Operation, TuningTable, Vendor};
use tagwave::lab::layers;
use tagwave::models;
use tagwave::tensor::DType;

const TABLE: &str = include_str!("../src/kernels/tuning.txt");

#[test]
fn the_table_is_what_the_records_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/records");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let records: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/records/compiled");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let compiled: Vec<_> = files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().to_string();
            (name.split('-').next().unwrap().to_string(), std::fs::read_to_string(file).unwrap())
        })
        .collect();
    assert_eq!(tuning::table(&records, &compiled), TABLE, "run `cargo xtask tuning`");
}

#[test]
fn a_record_decides_over_the_default_only_when_it_is_clearly_faster() {
    let row = |kernel: &str, batch: u64, milliseconds: f64, default: bool| {
        format!(
            "{{\"software\":true,\"key\":\"dense f32 8 to 8\",\"batch\":{batch},\"kernel\":\"{kernel}\",\
             \"default\":{default},\"least_ms\":{milliseconds}}}\n"
        )
    };
    let table = |rows: &[String]| tuning::table(&[rows.concat()], &[]).lines().last().unwrap().to_string();
    let old = [row("a", 1, 1.0, true), row("b", 1, 0.98, false)];
    assert_eq!(table(&old), "software: dense f32 8 to 8 = a");
    let new =
        [row("a", 1, 1.0, true), row("a", 8, 8.0, true), row("b", 1, 1.2, false), row("b", 8, 4.0, false)];
    assert_eq!(table(&new), "software: dense f32 8 to 8 = b");
    // `c` did not run at every batch, and a newer record beats an older one.
    let unfinished = [&new[..], &[row("c", 1, 0.1, false)]].concat();
    assert_eq!(table(&unfinished), "software: dense f32 8 to 8 = b");
    let both = tuning::table(&[new.concat(), old.concat()], &[]);
    assert!(both.ends_with("= a\n"), "{both}");
    // Times of submissions decide where there are no others.
    let submitted = new.concat().replace("\"batch\"", "\"timer\":\"submission\",\"batch\"");
    assert!(tuning::table(std::slice::from_ref(&submitted), &[]).ends_with("= b\n"));
    assert!(tuning::table(&[old.concat(), submitted], &[]).ends_with("= a\n"));
}

#[test]
fn compiled_records_decide_where_nothing_was_measured() {
    let csv = |a: f64, b: f64| {
        format!(
            "# modelled\nlayer,key,kernel,default,ms_1,ms_8,ms_64\nl,dense f32 8 to 8,a,yes,1,1,{a}\nl,dense f32 8 to 8,b,,1,1,{b}\n"
        )
    };
    let compiled = [("amd".to_string(), csv(1.0, 0.5)), ("amd".to_string(), csv(1.0, 0.9))];
    assert!(tuning::table(&[], &compiled).ends_with("amd: dense f32 8 to 8 = b\n"));
    let compiled = [("nvidia".to_string(), csv(1.0, 0.5))];
    let measured = "{\"software\":false,\"vendor\":\"nvidia\",\"key\":\"dense f32 9 to 8\",\"batch\":1,\"kernel\":\"a\",\
                    \"default\":true,\"least_ms\":1}\n";
    let other = measured.replace("\"a\"", "\"c\"").replace("true", "false");
    let table = tuning::table(&[[measured, &other].concat()], &compiled);
    assert!(table.ends_with("nvidia: dense f32 9 to 8 = a\n") && !table.contains(" 8 to 8 = "), "{table}");
}

/// A line for a configuration that no longer exists would silently be none.
#[test]
fn every_line_of_the_models_is_taken() {
    let software = Limits {
        software: true,
        subgroup: Some([8, 8]),
        subgroup_ids: true,
        f16: true,
        max_shared_bytes: 32 << 10,
        ..Limits::default()
    };
    let nvidia = Limits {
        software: false,
        vendor: Vendor::Nvidia,
        subgroup: Some([32, 32]),
        matrices: vec![16],
        max_workgroup_threads: 1024,
        max_shared_bytes: 48 << 10,
        ..software.clone()
    };
    let amd = Limits {
        vendor: Vendor::Amd,
        subgroup: Some([32, 64]),
        matrices: Vec::new(),
        max_shared_bytes: 64 << 10,
        ..nvidia.clone()
    };
    for (kind, limits) in [("software", software), ("nvidia", nvidia), ("amd", amd)] {
        lines_are_taken(kind, &limits);
    }
}

fn lines_are_taken(kind: &str, limits: &Limits) {
    let tuning = TuningTable::built_in(limits);
    assert!(!tuning.is_empty());
    let mut taken = BTreeSet::new();
    for precision in [DType::F32, DType::F16] {
        for layer in layers(&models::all(), precision).unwrap() {
            let step = &layer.plan.steps()[0];
            let shapes = layer.plan.shapes(step);
            let call = layer.plan.call(step, &shapes);
            let (key, known) = (LayerKey::new(&step.op, &call), step.op.configs(&call, limits));
            if let Some(config) = tuning.find(&key, &known) {
                assert!(known.contains(&config), "{}: {config}", layer.name);
                taken.insert(key);
            }
        }
    }
    // `probe.conv` belongs to no model.
    let is_probe = |line: &&str| line.starts_with(kind) && line.contains(" 64x48x720 to 128x48x720 ");
    let probes = TABLE.lines().filter(is_probe).count();
    assert_eq!(taken.len() + probes, tuning.len(), "lines for layers or configurations that are no more");
}
