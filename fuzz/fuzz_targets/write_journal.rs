//! Any bytes as a journal of `tagwave write`: earlier contents have their stated size, or the line is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let journal = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(journal.path(), data).expect("a temporary file");
    tagwave_cli::earlier_contents(journal.path(), &data[data.len() / 2..]);
});
