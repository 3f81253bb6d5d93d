//! Any bytes as a list of files, plain or a playlist.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["list", "list.m3u8"] {
        let list = folder.path().join(name);
        std::fs::write(&list, data).expect("a temporary file");
        let count = tagwave::cli::paths_of_list(&list);
        assert!(count <= data.len() + 1);
    }
});
