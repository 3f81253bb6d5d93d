//! List of devices that `auto` found unable to run models, kept between runs.
//!
//! Written only to a folder that was set with [`super::TaggerBuilder::refused_devices`]. Errors here are ignored: the
//! device is then tried again.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::atomic_file::replace;
use crate::gpu::AdapterSummary;

/// Name of the file.
const FILE: &str = "refused-devices.txt";
/// Maximum number of entries: a computer has few devices, and a driver update makes new ones of them.
const MAX_ENTRIES: usize = 64;
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// Refused devices. In the file one per line: key, tab, reason.
#[derive(Debug)]
pub(super) struct RefusedDevices {
    file: Option<PathBuf>,
    entries: Vec<(String, String)>,
}

impl RefusedDevices {
    /// Reads the list in `folder`; empty without a folder, or if the file cannot be read.
    pub(super) fn read(folder: Option<&Path>) -> RefusedDevices {
        let file = folder.map(|folder| folder.join(FILE));
        let text = file.as_deref().and_then(text).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let entries = lines.map(|(key, reason)| (key.to_string(), reason.to_string())).collect();
        RefusedDevices { file, entries }
    }

    /// The file, if there is a folder for it.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reason for which a device was refused on an earlier run.
    pub(super) fn reason(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, reason)| reason.as_str())
    }

    /// Adds a device.
    pub(super) fn add(&mut self, key: &str, reason: &str) {
        self.entries.retain(|(known, _)| known != key);
        self.entries.push((key.to_string(), without_control(reason)));
        let surplus = self.entries.len().saturating_sub(MAX_ENTRIES);
        self.entries.drain(..surplus);
        let lines: Vec<String> =
            self.entries.iter().map(|(key, reason)| format!("{key}\t{reason}\n")).collect();
        if let Some(file) = &self.file {
            // Without the file the device is tried again.
            let _ = replace(file, lines.concat().as_bytes());
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
    fn refused_devices_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("not yet there");
        let mut refused_devices = RefusedDevices::read(Some(&inner));
        assert_eq!(refused_devices.reason("a"), None);
        refused_devices.add("a", "kernel\t\"x\":\nerror");
        refused_devices.add("b", "wrong numbers");
        refused_devices.add("b", "does not answer");
        let retry = RefusedDevices::read(Some(&inner));
        assert_eq!(retry.reason("a"), Some("kernel \"x\": error"));
        assert_eq!(retry.reason("b"), Some("does not answer"));
        for index in 0..MAX_ENTRIES {
            refused_devices.add(&index.to_string(), "old");
        }
        let retry = RefusedDevices::read(Some(&inner));
        assert_eq!((retry.reason("a"), retry.reason("0")), (None, Some("old")));
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b"\xff\xfe\t\n"[..], b"no tab\n\n", &[b'\t'; 3]] {
            std::fs::write(folder.path().join(FILE), content).unwrap();
            assert_eq!(RefusedDevices::read(Some(folder.path())).reason("a"), None);
        }
        // A folder in its place can be neither read nor written.
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let mut refused_devices = RefusedDevices::read(Some(folder.path()));
        refused_devices.add("a", "reason");
        assert_eq!(refused_devices.reason("a"), Some("reason"));
        RefusedDevices::read(None).add("a", "reason");
    }
}
