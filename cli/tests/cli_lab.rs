//! `tagwave lab`, `bench kernels` and `tune`: user kernels, measurements and saved results.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::command::Home;
use serde_json::Value;

/// Part of the name of the device, without commas, which separate devices; `None` without an adapter.
fn device() -> Option<String> {
    let gpu = common::gpu()?;
    gpu.summary().name.split([' ', ',']).next().map(String::from)
}

/// Makes a home with the template of a convolution in `my.wgsl`.
fn laboratory() -> Home {
    let home = Home::new();
    let start = home.ok(&["lab", "--new", "conv2d"]);
    assert!(start.contains("// contract  conv2d_direct"), "{start}");
    fs::write(home.path("my.wgsl"), start).unwrap();
    home
}

/// The smallest convolution of a model.
const LAYER: [&str; 4] = ["--layer", "compact.conv5", "--batch", "1"];

#[test]
fn a_new_kernel_agrees_and_is_timed_beside_the_built_in_ones() {
    let Some(device) = device() else { return };
    let home = laboratory();
    let said = home.ok(&[&["lab", "my.wgsl", "--device", &device][..], &LAYER].concat());
    assert!(said.contains("test cases passed"), "{said}");
    for kernel in ["my ", "conv2d_direct ", "conv2d_tiled "] {
        assert!(
            said.lines().any(|line| line.contains(kernel) && line.contains("GFLOP/s")),
            "{kernel}: {said}"
        );
    }
    let sweep = ["--skip-test-cases", "--sweep", "QT=1,2", "--sweep", "OV=1,2"];
    let said = home.ok(&[&["lab", "my.wgsl", "--device", &device][..], &LAYER, &sweep].concat());
    assert_eq!(said.lines().filter(|line| line.contains("GFLOP/s")).count(), 4, "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("best: my ")), "{said}");
}

#[test]
fn a_wrong_kernel_is_not_timed_and_says_where() {
    let Some(device) = device() else { return };
    let home = laboratory();
    let source = fs::read_to_string(home.path("my.wgsl")).unwrap();
    let lab = |name: &str, text: &str| -> Vec<String> {
        fs::write(home.path(name), text).unwrap();
        let all = [&["lab", name, "--device", &device][..], &LAYER].concat();
        all.into_iter().map(String::from).collect()
    };
    let wrong = source.replace("y[", "y[1u + ");
    assert_ne!(wrong, source);
    let errors = home.fails(1, &lab("wrong.wgsl", &wrong));
    assert!(
        errors.contains("differs from the reference implementation") && errors.contains("worst at"),
        "{errors}"
    );
    let errors = home.fails(1, &lab("broken.wgsl", &source.replace("fn main(", "fn main((")));
    assert!(errors.contains("conv2d_direct"), "{errors}");
    // Usage: the header, the bindings, the names.
    let errors = home.fails(2, &lab("headless.wgsl", &source.replace("// contract", "// contact")));
    assert!(errors.contains("contract"), "{errors}");
    let errors =
        home.fails(2, &lab("unknown.wgsl", &source.replace("contract  conv2d_direct", "contract  conv3d")));
    assert!(errors.contains("conv3d") && errors.contains("conv2d_direct"), "{errors}");
    let errors = home.fails(1, &lab("unbound.wgsl", &source.replacen("@binding(1)", "@binding(9)", 1)));
    assert!(errors.contains("conv2d_direct"), "{errors}");
    let errors = home.fails(2, &lab("unlisted.wgsl", &source.replacen("//   1  x ", "//   9  x ", 1)));
    assert!(errors.contains("bindings"), "{errors}");
    home.fails(2, &["lab", "my.wgsl", "--device", &device, "--layer", "nothing"]);
    home.fails(2, &["lab", "missing.wgsl", "--device", &device]);
    home.fails(2, &["lab", "my.wgsl", "--device", "cpu"]);
    home.fails(2, &["lab", "--new", "conv3d"]);
}

/// The check covers the user kernel itself, in every clip of the batch.
#[test]
fn no_other_kernel_replaces_the_checked_one() {
    let Some(device) = device() else { return };
    let home = laboratory();
    let lab = |rest: &[&str]| -> Vec<String> {
        [&["lab"], rest, &["--device", &device, "--layer", "compact.conv5"]]
            .concat()
            .into_iter()
            .map(String::from)
            .collect()
    };
    // Threads that no device has: the built-in kernel would have given the right numbers.
    fs::write(home.path("tiled.wgsl"), home.ok(&["lab", "--new", "conv2d_tiled"])).unwrap();
    let errors = home.fails(1, &lab(&["tiled.wgsl", "--constant", "TX=4096", "--batch", "1"]));
    assert!(errors.contains("TX=4096"), "{errors}");
    let skipped = ["--skip-test-cases", "--batch", "1"];
    home.fails(3, &lab(&[&["tiled.wgsl", "--constant", "TX=4096"][..], &skipped].concat()));
    home.fails(2, &lab(&["tiled.wgsl", "--constant", "NOPE=1"]));
    // A sweep continues after invalid values.
    let said = home.ok(&lab(&[&["tiled.wgsl", "--sweep", "TX=4096,4"][..], &skipped].concat()));
    assert!(said.contains("best: tiled ") && said.contains("TX=4"), "{said}");
    // Wrong in one clip alone.
    let source = fs::read_to_string(home.path("my.wgsl")).unwrap();
    for (clip, batch) in [("2u", "3"), ("3u", "8")] {
        let wrong = source.replace(
            "Element4(activate4(largest))",
            &format!("Element4(select(0.0, 1.0, n != {clip}) * activate4(largest))"),
        );
        assert_ne!(wrong, source);
        fs::write(home.path("wrong.wgsl"), wrong).unwrap();
        let errors = home.fails(1, &lab(&["wrong.wgsl", "--skip-test-cases", "--batch", batch]));
        assert!(errors.contains("differs from the reference"), "{errors}");
    }
    // Nothing written is not what the kernel before wrote.
    let idle = source
        .replace("y[place] = ", "if params.N == 0u { y[place] = ")
        .replace("largest));", "largest)); }");
    fs::write(home.path("idle.wgsl"), idle).unwrap();
    let errors = home.fails(1, &lab(&["idle.wgsl", "--skip-test-cases", "--batch", "1"]));
    assert!(errors.contains("differs from the reference"), "{errors}");
}

#[test]
fn a_saved_kernel_is_tried_again() {
    let Some(device) = device() else { return };
    let home = laboratory();
    let mut command = home.command(
        &[&["lab", "my.wgsl", "--watch", "--skip-test-cases", "--device", &device][..], &LAYER].concat(),
    );
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut round =
        || lines.by_ref().take_while(|line| !line.starts_with("waiting")).collect::<Vec<_>>().join("\n");
    assert!(round().contains("my "));
    let source = fs::read_to_string(home.path("my.wgsl")).unwrap();
    fs::write(home.path("my.wgsl"), source.replace("\n// contract  ", "\n// saved again\n// contract  "))
        .unwrap();
    assert!(round().contains("my "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_model_runs_with_a_user_kernel() {
    let Some(device) = device() else { return };
    let home = laboratory();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.ogg");
    let tag = |more: &[&str]| {
        let all = [&["tag", "--model", "small", "--quiet", "--device", &device, demo][..], more].concat();
        home.ok(&all)
    };
    let built_in = tag(&[]);
    assert!(built_in.contains(':') || built_in.contains('{'), "{built_in}");
    let labels = |text: &str| {
        text.split_whitespace()
            .filter(|word| word.chars().all(char::is_alphabetic))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(labels(&tag(&["--kernel", "conv2d=my.wgsl"])), labels(&built_in));
    // A kernel that gives something else gives other tags: it is the one that runs.
    let source = fs::read_to_string(home.path("my.wgsl")).unwrap();
    fs::write(home.path("other.wgsl"), source.replace("y[", "y[1u + ")).unwrap();
    assert_ne!(tag(&["--kernel", "conv2d=other.wgsl"]), built_in);
    home.fails(2, &["tag", "--kernel", "dense=my.wgsl", "--device", &device, demo]);
    home.fails(2, &["tag", "--kernel", "my.wgsl", "--device", &device, demo]);
    fs::write(home.path("gru.wgsl"), home.ok(&["lab", "--new", "gru"])).unwrap();
    home.ok(&["tag", "--model", "small", "-q", "--kernel", "gru=gru.wgsl", "--device", &device, demo]);
    let said =
        home.fails(2, &["tag", "--model", "compact", "--kernel", "gru=gru.wgsl", "--device", &device, demo]);
    assert!(said.contains("runs no layer of compact"), "{said}");
    home.fails(2, &["tag", "--kernel", "conv2d=my.wgsl", "--device", "cpu", demo]);
}

#[test]
fn tuning_results_are_saved_until_forgotten() {
    let Some(device) = device() else { return };
    let home = Home::new();
    let tune = ["tune", "--device", &device, "--model", "compact", "--batch", "1", "--seconds", "8"];
    let said = home.ok(&tune);
    let file =
        said.lines().find_map(|line| line.strip_prefix("saved ")?.split_once(" in ")).unwrap().1.to_string();
    let winners = fs::read_to_string(&file).unwrap();
    assert!(winners.lines().count() > 0 && winners.lines().all(|line| line.contains(" = ")), "{winners}");
    // A damaged file loses the saved results only.
    fs::write(&file, b"\xff\xfe no line of this").unwrap();
    home.ok(&[
        "tag",
        "--model",
        "small",
        "--quiet",
        "--device",
        &device,
        concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.ogg"),
    ]);
    home.ok(&["tune", "--forget", "--device", &device]);
    assert!(!std::path::Path::new(&file).exists());
    home.fails(2, &["tune", "--device", "cpu"]);
}

#[test]
fn models_are_timed_with_their_steps() {
    let home = Home::new();
    let bench =
        ["bench", "model", "--device", "cpu", "--model", "small", "--batch", "2", "--seconds", "0.01"];
    for (from, first) in [("samples", "mel"), ("spectrogram", "conv1")] {
        let said = home.ok(&[&bench[..], &["--from", from, "--steps", "--json"]].concat());
        let row: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&row["model"], &row["batch"]), (&"small".into(), &2.into()), "{row}");
        for figure in ["clips_per_s", "clips_per_s_max", "clips_per_cpu_s"] {
            assert!(row[figure].as_f64().is_some_and(|v| v > 0.0), "{figure}: {row}");
        }
        let steps = row["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["step"] == first), "{row}");
        assert!(steps.iter().all(|step| step["ms_per_clip"].as_f64().is_some()), "{row}");
    }
    let table = home.ok(&[&bench[..], &["--steps", "--threads", "1", "--simd", "scalar"]].concat());
    assert!(table.contains("conv1") && table.contains("GFLOP/s"), "{table}");
    home.fails(2, &[&bench[..], &["--simd", "mmx"]].concat());
    home.fails(2, &["bench", "model", "--device", "cpu", "--model", "mel", "--from", "spectrogram"]);
}

#[test]
fn kernels_are_listed_with_their_speed_and_drawn() {
    let Some(device) = device() else { return };
    let home = Home::new();
    let bench = [
        "bench",
        "kernels",
        "--device",
        &device,
        "--layer",
        "compact.conv5,head",
        "--batch",
        "1,2",
        "--milliseconds",
        "2",
    ];
    let said = home
        .ok(&[&bench[..], &["--skip-test-cases", "--format", "jsonl", "--plot", "roofline.svg"]].concat());
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() >= 4, "{said}");
    for row in &rows {
        for figure in ["median_ms", "gflops", "gbytes", "peak_gflops", "peak_gbytes"] {
            assert!(row[figure].as_f64().is_some_and(|v| v > 0.0), "{figure}: {row}");
        }
    }
    assert!(rows.iter().any(|row| row["default"] == true && row["batch"] == 2), "{said}");
    let plot = fs::read_to_string(home.path("roofline.svg")).unwrap();
    assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
    assert!(plot.matches("<circle").count() >= rows.len(), "{plot}");
    let table = home.ok(&[&bench[..], &["--skip-test-cases"]].concat());
    assert!(table.contains("measured peaks"), "{table}");
}
