//! Wording of the source: doc comments say what a thing is, and a name has one meaning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders with code and its comments.
const FOLDERS: &[&str] = &[
    "src",
    "cli/src",
    "cli/tests",
    "capi/src",
    "capi/tests",
    "gstreamer/src",
    "gstreamer/tests",
    "python/src",
    "web/src",
    "tests",
    "xtask/src",
    "benches",
    "examples",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "shaders",
];

/// Words that no comment line may begin with: a comment states what a thing is, not what it answers.
const INTERROGATIVES: &[&str] = &["What", "How", "Where", "Why", "Which", "Whether"];

/// Names that several modules use for the same concept.
const PARALLEL: &[(&str, &str)] = &[
    ("GpuSettings", "stand-in of builds without GPU support"),
    ("Context", "stand-in of builds without GPU support"),
    ("Decoder", "stand-in of builds without `decode`"),
    ("Config", "sizes of a network, one per model"),
    ("Executor", "executor of a plan, one per kind of device"),
    ("Options", "options of an executor, one per executor"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of all files below `folder` with one of the extensions, relative to the root.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// True for a comment line that begins with an interrogative word: `/// What ...`, in WGSL also `// What ...`.
fn asks(line: &str, is_wgsl: bool) -> bool {
    let line = line.trim_start();
    let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
    let comment = if is_wgsl { line.strip_prefix("//") } else { comment };
    let words = comment.and_then(|comment| comment.split_whitespace().next());
    words.is_some_and(|word| INTERROGATIVES.contains(&word))
}

#[test]
fn no_doc_comment_begins_with_an_interrogative_word() {
    assert!(asks("    /// What this is.", false) && asks("// Whether it is.", true));
    assert!(!asks("/// Number of what it counts.", false) && !asks("// Why: a reason.", false));
    let mut wrong = Vec::new();
    for path in FOLDERS.iter().flat_map(|folder| files(folder, &["rs", "wgsl"])) {
        let is_wgsl = path.extension().is_some_and(|extension| extension == "wgsl");
        for (index, line) in read(&path).lines().enumerate().filter(|(_, line)| asks(line, is_wgsl)) {
            wrong.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
        }
    }
    assert!(wrong.is_empty(), "begin with what the thing is or does:\n{}", wrong.join("\n"));
}

/// Name of the type that a line of code declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => line,
    };
    let line = line.trim_start();
    let rest =
        ["struct ", "enum ", "trait ", "union "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

#[test]
fn a_type_name_has_one_meaning() {
    assert_eq!(declared("    pub(super) struct Row<'a> {"), Some("Row"));
    assert_eq!(declared("enum Kind {"), Some("Kind"));
    assert_eq!(declared("// a struct Row"), None);
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in ["src", "cli/src"].iter().flat_map(|folder| files(folder, &["rs"])) {
        // Unit tests stand last in their file.
        let text = read(&path);
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        for name in code.lines().filter_map(declared) {
            places.entry(name.to_string()).or_default().push(path.clone());
        }
    }
    assert!(places.len() > 200, "found {} types", places.len());
    for (name, paths) in &places {
        let is_parallel = PARALLEL.iter().any(|(parallel, _)| parallel == name);
        assert!(paths.len() == 1 || is_parallel, "{name} is declared in {paths:?}: give each its own name");
    }
    for (name, _) in PARALLEL {
        let count = places.get(*name).map_or(0, Vec::len);
        assert!(count > 1, "{name} is declared {count} times: remove it from the list");
    }
}

/// No `match` on a bool: `if` says the same.
#[test]
fn bools_are_not_matched() {
    for path in FOLDERS.iter().flat_map(|folder| files(folder, &["rs"])) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, pair) in lines.windows(2).enumerate() {
            let is_match = pair[0].contains("match ") && pair[0].ends_with('{');
            let on_bool = pair[1].starts_with("true =>") || pair[1].starts_with("false =>");
            assert!(!(is_match && on_bool), "{}:{}: use if", path.display(), index + 1);
        }
    }
}
