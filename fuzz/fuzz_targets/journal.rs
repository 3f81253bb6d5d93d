//! Any bytes as a journal and the rows beside it: resuming never changes a row that it keeps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwave::sinks::{Failure, JSON_LINES, JournalKey, JournaledFile, Row, Sink, journal_file};

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.jsonl");
    let (journal, rows) = if data.first().is_some_and(|first| first % 2 == 0) {
        // A journal that was really written, with bytes changed: pairs of place and value.
        let mut sink = JournaledFile::create(JSON_LINES, &path).expect("a new file");
        for name in ["a", "b", "c", "d"] {
            let failure = Failure { kind: tagwave::ErrorKind::Input, message: "none".into() };
            let key = Some(JournalKey::new("s", name.as_ref(), 1, 2));
            sink.row(&Row { path: name.into(), key, outcome: Err(failure) }).expect("a row");
        }
        drop(sink);
        let mut files = [journal_file(&path), path.clone()].map(|path| std::fs::read(path).expect("a file"));
        for change in data[1..].chunks_exact(4) {
            let file = &mut files[usize::from(change[0] & 1)];
            let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % file.len().max(1);
            match change[0] >> 1 & 3 {
                0 => file.truncate(at),
                1 => file.insert(at.min(file.len()), change[3]),
                _ => {
                    if let Some(byte) = file.get_mut(at) {
                        *byte = change[3];
                    }
                }
            }
        }
        let [journal, rows] = files;
        (journal, rows)
    } else {
        let middle = data.len() / 2;
        (data[..middle].to_vec(), data[middle..].to_vec())
    };
    std::fs::write(journal_file(&path), &journal).expect("a temporary file");
    std::fs::write(&path, &rows).expect("a temporary file");
    if let Ok((sink, done)) = JournaledFile::resume(JSON_LINES, &path) {
        drop(sink);
        let kept = std::fs::read(&path).expect("the rows");
        assert!(rows.starts_with(&kept), "rows were changed");
        // Once more finds the same.
        let (_, again) = JournaledFile::resume(JSON_LINES, &path).expect("what was resumed is resumed again");
        assert_eq!(done.len(), again.len());
    } else {
        assert_eq!(std::fs::read(&path).expect("the rows"), rows, "refused and changed");
    }
});
