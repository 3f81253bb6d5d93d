//! The default model in the program: nothing but an explicit path replaces its weights.

mod common;

use common::command::{Home, word};

/// A folder that was not given explicitly changes neither model nor weights.
#[test]
fn files_in_the_store_change_nothing() {
    let home = Home::new();
    let demo = common::in_repository("assets/demo.ogg");
    let run = |more: &[&str]| {
        let arguments = [&["tag", "--device", "cpu", "--format", "csv", word(&demo)][..], more].concat();
        let output = home.command(&arguments).env_remove("TAGWAVE_MODEL").output().unwrap();
        let [out, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), out, said)
    };
    let (code, before, said) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(before.contains(",small,corrected,"), "{before}");
    for name in ["crnn", "small"] {
        common::seeded::export(name, &home.store());
    }
    assert_eq!(run(&[]).1, before);
    assert_eq!(run(&["--compat", "corrected"]).1, before);
    let (code, _, said) = run(&["--compat", "original"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("corrected only"), "{said}");
    // An explicit folder is searched; the error names the missing files.
    let empty = tempfile::tempdir().unwrap();
    let (code, _, said) = run(&["--weights", word(empty.path())]);
    assert_eq!(code, Some(2));
    assert!(said.contains("tagwave-small.safetensors"), "{said}");
}
