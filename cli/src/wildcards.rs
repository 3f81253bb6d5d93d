//! Patterns of file names in arguments: shells of Windows leave `*` and `?` to the program.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// Replaces arguments such as `music\\*.mp3` by the files that they match, sorted by name. Options, and patterns that match
/// nothing, stay as they are. Names on Windows have neither `*` nor `?`, so that no file is taken for a pattern.
pub(super) fn expand(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .flat_map(|argument| {
            let files = files(&argument);
            if files.is_empty() { vec![argument] } else { files }
        })
        .collect()
}

/// Files whose names match the last part of a path; none for an option.
fn files(argument: &OsString) -> Vec<OsString> {
    let path = Path::new(argument);
    let Some(matcher) = path.file_name().and_then(|name| matcher(name.to_str()?)) else { return Vec::new() };
    if argument.as_encoded_bytes().starts_with(b"-") {
        return Vec::new();
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<OsString> = names.filter(|name| matcher.is_match(name)).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name).into_os_string()).collect()
}

/// Matcher of a name without regard to case, if it is a pattern. Brackets and braces are characters of names.
fn matcher(name: &str) -> Option<GlobMatcher> {
    if !name.contains(['*', '?']) {
        return None;
    }
    let escaped = |c: char| match c {
        '*' | '?' => c.to_string(),
        _ => globset::escape(c.encode_utf8(&mut [0; 4])),
    };
    let pattern: String = name.chars().map(escaped).collect();
    Some(GlobBuilder::new(&pattern).case_insensitive(true).build().ok()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_sorted_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.MP3", "a.mp3", "c[1].mp3", "c1.mp3", "{a}.wav"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let expanded = |pattern: &str| -> Vec<String> {
            let pattern = folder.path().join(pattern).into_os_string();
            let found = expand([pattern].into_iter());
            let name =
                |path: OsString| Path::new(&path).strip_prefix(folder.path()).unwrap().display().to_string();
            found.into_iter().map(name).collect()
        };
        assert_eq!(expanded("*.mp3"), ["a.mp3", "b.MP3", "c1.mp3", "c[1].mp3"]);
        assert_eq!(expanded("?.mp3"), ["a.mp3", "b.MP3"]);
        assert_eq!(expanded("*[1]*"), ["c[1].mp3"]);
        assert_eq!(expanded("{a}*"), ["{a}.wav"]);
        for literal in ["c[1].mp3", "none*", "none/*.mp3"] {
            assert_eq!(expanded(literal), [literal]);
        }
        for option in ["--threshold=*", "-", "tag"] {
            assert_eq!(expand([OsString::from(option)].into_iter()), [option]);
        }
    }
}
