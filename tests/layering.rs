//! Imports between modules, checked against the table of docs/architecture.md.

use std::path::{Path, PathBuf};

/// Leaf modules, which every module may import.
const LEAVES: &[&str] = &["atomic_file", "cancel", "error_kind", "instant"];

/// Modules and their allowed imports besides the leaves.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("atomic_file", &[]),
    ("error_kind", &[]),
    ("cancel", &[]),
    ("instant", &[]),
    ("tensor", &[]),
    ("tags", &[]),
    ("audio", &[]),
    ("weights", &["tensor"]),
    ("kernels", &["tensor"]),
    ("plan", &["kernels", "tensor"]),
    ("frontend", &["plan", "kernels", "tensor"]),
    ("models", &["frontend", "plan", "weights", "tags", "tensor"]),
    ("test_cases", &["plan", "kernels", "tensor"]),
    ("executor", &["plan", "tensor"]),
    ("reference", &["executor", "plan", "kernels", "weights", "tensor"]),
    ("cpu", &["executor", "plan", "kernels", "weights", "tensor"]),
    ("gpu", &["executor", "plan", "kernels", "weights", "tensor"]),
    (
        "lab",
        &[
            "error",
            "executor",
            "gpu",
            "models",
            "test_cases",
            "reference",
            "plan",
            "kernels",
            "weights",
            "tensor",
        ],
    ),
    ("evaluation", &["tags"]),
    ("learning", &["evaluation"]),
    ("sinks", &["tags"]),
    ("pca", &[]),
    ("search", &["pca"]),
];

/// Modules that join the others.
const JOINING: &[&str] = &["tagger", "cli", "error", "lib"];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Source files as (module, path, code without comments); the program is the module `cli`.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join("src");
    let mut files = Vec::new();
    rust_files(&library, &mut files);
    rust_files(&root.join("cli/src"), &mut files);
    let source = |path: PathBuf| {
        let module = match path.strip_prefix(&library) {
            Ok(relative) => {
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                first.trim_end_matches(".rs").to_string()
            }
            Err(_) => "cli".to_string(),
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (module, path, code.join("\n"))
    };
    files.into_iter().map(source).collect()
}

/// Code before the unit tests, which stand last in their file.
fn without_tests(code: &str) -> &str {
    let end = code.find("\nmod tests {").unwrap_or(code.len());
    &code[..end]
}

/// The modules named after `crate::` in `code`.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        match rest.strip_prefix('{') {
            // `use crate::{reference, weights};`
            Some(group) => {
                found.extend(group.split('}').next().unwrap_or("").split(',').map(|item| word(item.trim())))
            }
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn modules_import_what_they_may() {
    for (module, path, code) in sources() {
        if JOINING.contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{}: add the module to the table", path.display()));
        for import in imports(&code) {
            assert!(
                import == module || LEAVES.contains(&import.as_str()) || allowed.contains(&import.as_str()),
                "{} imports {import}; `{module}` may import {allowed:?}",
                path.display()
            );
        }
    }
}

/// Files of the executors that may wait: the layer for callers with a thread, and measuring tools.
const BLOCKING: &[&str] = &[
    "src/executor/blocking.rs",
    "src/executor/clock.rs",
    "src/gpu/blocking.rs",
    "src/gpu/trial.rs",
    "src/gpu/probe.rs",
];

#[test]
fn executors_do_not_wait() {
    for (module, path, code) in sources() {
        let library = without_tests(&code);
        let may_wait = BLOCKING.iter().any(|file| path.ends_with(file));
        if !["executor", "gpu", "cpu", "reference", "plan", "kernels"].contains(&module.as_str()) || may_wait
        {
            continue;
        }
        for word in ["block_on", "PollType", "recv", "Condvar", "Instant", "thread::sleep", "thread::spawn"] {
            assert!(!library.contains(word), "{} uses {word}", path.display());
        }
    }
}

/// Files of the executors that access the file system.
const FILES: &[&str] = &["src/gpu/pipeline_files.rs"];

#[test]
fn executors_do_not_read_or_write_files() {
    for (module, path, code) in sources() {
        let library = without_tests(&code);
        let is_executor =
            ["executor", "gpu", "cpu", "reference", "plan", "kernels"].contains(&module.as_str());
        if is_executor && !FILES.iter().any(|file| path.ends_with(file)) {
            for word in ["std::fs", "fs::", "File::", "atomic_file"] {
                assert!(!library.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

/// Files that read the time of day: modification times of files. Everything else is timed by a clock that does not jump.
const TIME_OF_DAY: &[&str] =
    &["cli/src/inputs.rs", "cli/src/lab.rs", "cli/src/serve/routes.rs", "cli/src/write/replace.rs"];

#[test]
fn durations_do_not_depend_on_the_time_of_day() {
    for (_, path, code) in sources() {
        let may_read = TIME_OF_DAY.iter().any(|file| path.ends_with(file));
        assert!(may_read || !code.contains("SystemTime"), "{} uses SystemTime", path.display());
        let is_now = code.contains("SystemTime::now");
        assert!(!is_now, "{} reads the time of day, which may jump", path.display());
    }
}

#[test]
fn only_gpu_names_wgpu() {
    for (module, path, code) in sources() {
        // The crate's root hands wgpu on to callers that share a device.
        if module != "gpu" && module != "lib" {
            // Extensions of WGSL are called `wgpu_...`, and the feature of all backends is called `wgpu`.
            let code = code.replace("wgpu_", "").replace("feature = \"wgpu\"", "");
            assert!(!code.contains("wgpu"), "{} names wgpu", path.display());
        }
    }
}

#[test]
fn only_the_command_line_prints_or_reads_the_environment() {
    for (module, path, code) in sources() {
        if module != "cli" {
            // Unit tests say when their fixtures are missing.
            let library = without_tests(&code);
            for word in ["println!", "eprintln!", "std::env::var", "process::exit", "std::env::args"] {
                assert!(!library.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

/// Files with unsafe code, each for a measured gain or a driver call without a safe interface.
const UNSAFE: &[&str] = &[
    "src/gpu/cache.rs",
    "src/gpu/device.rs",
    "src/gpu/shader.rs",
    "src/kernels/user_kernel.rs",
    "cli/src/lab.rs",
];

#[test]
fn unsafe_code_is_listed_and_gives_its_reason() {
    for (_, path, code) in sources() {
        let listed = UNSAFE.iter().any(|file| path.ends_with(file));
        assert!(listed || !code.contains("unsafe "), "{}: unsafe needs a measured reason", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let safety = text.matches("// SAFETY:").count();
        assert_eq!(code.matches("unsafe {").count(), safety, "{}: SAFETY lines", path.display());
    }
}
