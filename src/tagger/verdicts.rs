//! Devices that `auto` found unable to run models, remembered from run to run.
//!
//! Only in a folder that was named ([`super::TaggerBuilder::device_verdicts`]): a library does not write files unasked.
//! Whatever goes wrong here costs another attempt with the device and nothing else.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::gpu::AdapterSummary;

/// Name of the file.
const FILE: &str = "refused-devices.txt";
/// Most devices that are remembered: a computer has a few, and a driver update makes them new ones.
const MOST: usize = 64;
/// Most bytes of a file that is read.
const LARGEST: u64 = 1 << 16;

/// The refused devices of a file, one a line: key, tab, reason.
#[derive(Debug)]
pub(super) struct Verdicts {
    file: Option<PathBuf>,
    refused: Vec<(String, String)>,
}

impl Verdicts {
    /// The verdicts in `folder`; none without a folder, and none of a file that cannot be read.
    pub(super) fn read(folder: Option<&Path>) -> Verdicts {
        let file = folder.map(|folder| folder.join(FILE));
        let text = file.as_deref().and_then(text).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let refused = lines.map(|(key, reason)| (key.to_string(), reason.to_string())).collect();
        Verdicts { file, refused }
    }

    /// The file, where there is a folder for it.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The reason why a device was refused on an earlier run.
    pub(super) fn refused(&self, key: &str) -> Option<&str> {
        self.refused.iter().find(|(known, _)| known == key).map(|(_, reason)| reason.as_str())
    }

    /// Remembers that a device was refused.
    pub(super) fn refuse(&mut self, key: &str, reason: &str) {
        self.refused.retain(|(known, _)| known != key);
        self.refused.push((key.to_string(), plain(reason)));
        let surplus = self.refused.len().saturating_sub(MOST);
        self.refused.drain(..surplus);
        let lines: Vec<String> =
            self.refused.iter().map(|(key, reason)| format!("{key}\t{reason}\n")).collect();
        if let Some(file) = &self.file {
            // Without the file the device is tried again.
            let _ = write(file, &lines.concat());
        }
    }
}

/// Name of a device in a file: another driver or another version of this library makes it another one.
pub(super) fn key(adapter: &AdapterSummary) -> String {
    let version = env!("CARGO_PKG_VERSION");
    plain(&[&*adapter.name, &*adapter.backend, &*adapter.driver, version].join(" | "))
}

/// The text without control characters, which would end a field or a line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn text(file: &Path) -> Option<String> {
    // Asked before opening: opening a pipe would wait for a writer.
    if !std::fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Written beside and moved, so that another process never reads half of it.
fn write(file: &Path, content: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(content.as_bytes())?;
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("not yet there");
        let mut verdicts = Verdicts::read(Some(&inner));
        assert_eq!(verdicts.refused("a"), None);
        verdicts.refuse("a", "kernel\t\"x\":\nerror");
        verdicts.refuse("b", "wrong numbers");
        verdicts.refuse("b", "does not answer");
        let again = Verdicts::read(Some(&inner));
        assert_eq!(again.refused("a"), Some("kernel \"x\": error"));
        assert_eq!(again.refused("b"), Some("does not answer"));
        for index in 0..MOST {
            verdicts.refuse(&index.to_string(), "old");
        }
        let again = Verdicts::read(Some(&inner));
        assert_eq!((again.refused("a"), again.refused("0")), (None, Some("old")));
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b"\xff\xfe\t\n"[..], b"no tab\n\n", &[b'\t'; 3]] {
            std::fs::write(folder.path().join(FILE), content).unwrap();
            assert_eq!(Verdicts::read(Some(folder.path())).refused("a"), None);
        }
        // A folder in its place can be neither read nor written.
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let mut verdicts = Verdicts::read(Some(folder.path()));
        verdicts.refuse("a", "reason");
        assert_eq!(verdicts.refused("a"), Some("reason"));
        Verdicts::read(None).refuse("a", "reason");
    }
}
