//! Findings of `auto` about devices, kept between runs.
//!
//! Written only to a folder that was set with [`super::TaggerBuilder::known_devices`]. Errors here are ignored: the device
//! is then tried again.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::atomic_file::replace;
use crate::gpu::AdapterSummary;

/// Name of the file.
const FILE: &str = "known-devices.txt";
/// Maximum number of entries: a computer has few devices, and a driver update makes new ones of them.
const MAX_ENTRIES: usize = 64;
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// Result of an attempt to use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It does not run models, or has wrong results.
    Refused,
    /// It was measured to be slower than the CPU executor.
    Slower,
    /// It was measured to be faster than the CPU executor.
    Faster,
}

impl Finding {
    const ALL: [Finding; 3] = [Finding::Refused, Finding::Slower, Finding::Faster];

    /// Word in the file.
    fn word(self) -> &'static str {
        match self {
            Finding::Refused => "refused",
            Finding::Slower => "slower",
            Finding::Faster => "faster",
        }
    }
}

#[derive(Clone, Debug)]
struct KnownDevice {
    key: String,
    finding: Finding,
    reason: String,
}

/// Findings by device. In the file one per line: key, finding and reason, separated by tabs.
#[derive(Debug)]
pub(super) struct KnownDevices {
    file: Option<PathBuf>,
    entries: Vec<KnownDevice>,
}

impl KnownDevices {
    /// Reads the list in `folder`; empty without a folder, or if the file cannot be read.
    pub(super) fn read(folder: Option<&Path>) -> KnownDevices {
        let file = folder.map(|folder| folder.join(FILE));
        let text = file.as_deref().and_then(text).unwrap_or_default();
        let entry = |line: &str| {
            let [key, word, reason] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
            let finding = Finding::ALL.into_iter().find(|finding| finding.word() == word)?;
            Some(KnownDevice { key: key.into(), finding, reason: reason.into() })
        };
        let entries = text.lines().filter_map(entry).collect();
        KnownDevices { file, entries }
    }

    /// The file, if there is a folder for it.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Finding of an earlier run, and its reason.
    pub(super) fn find(&self, key: &str) -> Option<(Finding, &str)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((entry.finding, &entry.reason))
    }

    /// Adds a device.
    pub(super) fn add(&mut self, key: &str, finding: Finding, reason: &str) {
        self.entries.retain(|known| known.key != key);
        self.entries.push(KnownDevice { key: key.into(), finding, reason: without_control(reason) });
        let surplus = self.entries.len().saturating_sub(MAX_ENTRIES);
        self.entries.drain(..surplus);
        let line =
            |entry: &KnownDevice| format!("{}\t{}\t{}\n", entry.key, entry.finding.word(), entry.reason);
        let lines: String = self.entries.iter().map(line).collect();
        if let Some(file) = &self.file {
            // Without the file the device is tried again.
            let _ = replace(file, lines.as_bytes());
        }
    }
}

/// Key of a device: name, backend, driver, and the version of this library.
pub(super) fn key(adapter: &AdapterSummary) -> String {
    let version = env!("CARGO_PKG_VERSION");
    without_control(&[&*adapter.name, &*adapter.backend, &*adapter.driver, version].join(" | "))
}

/// Replaces control characters, which would end a field or a line.
fn without_control(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn text(file: &Path) -> Option<String> {
    // Checked before opening: opening a pipe would wait for a writer.
    if !std::fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("not yet there");
        let mut known = KnownDevices::read(Some(&inner));
        assert_eq!(known.find("a"), None);
        known.add("a", Finding::Refused, "kernel\t\"x\":\nerror");
        known.add("b", Finding::Refused, "wrong numbers");
        known.add("b", Finding::Faster, "20 clips/s, the CPU 10");
        let again = KnownDevices::read(Some(&inner));
        assert_eq!(again.find("a"), Some((Finding::Refused, "kernel \"x\": error")));
        assert_eq!(again.find("b"), Some((Finding::Faster, "20 clips/s, the CPU 10")));
        for index in 0..MAX_ENTRIES {
            known.add(&index.to_string(), Finding::Slower, "old");
        }
        let again = KnownDevices::read(Some(&inner));
        assert_eq!((again.find("a"), again.find("0")), (None, Some((Finding::Slower, "old"))));
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b"\xff\xfe\t\n"[..], b"a\tb\n\n", b"a\tquick\treason", &[b'\t'; 3]] {
            std::fs::write(folder.path().join(FILE), content).unwrap();
            assert_eq!(KnownDevices::read(Some(folder.path())).find("a"), None);
        }
        // A folder in its place can be neither read nor written.
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let mut known = KnownDevices::read(Some(folder.path()));
        known.add("a", Finding::Refused, "reason");
        assert_eq!(known.find("a"), Some((Finding::Refused, "reason")));
        KnownDevices::read(None).add("a", Finding::Refused, "reason");
    }
}
