//! `tagwave weights`: the weight store.

mod common;

use std::fs;
use std::path::Path;

use common::command::{Home, word};
use tagwave::models;

/// The published weight files, or `None`.
fn published(name: &str) -> Option<std::path::PathBuf> {
    common::fixture(&format!("weights/{name}"))
}

const CRNN: &str = "music_tagger_crnn_weights_theano.h5";
const CNN: &str = "music_tagger_cnn_weights_tensorflow.h5";

#[test]
fn an_imported_file_is_listed_verified_and_found() {
    let (Some(crnn), Some(cnn)) = (published(CRNN), published(CNN)) else { return };
    let home = Home::new();
    assert_eq!(home.ok(&["weights", "path"]).trim_end(), word(&home.store()));
    assert!(home.ok(&["weights", "list"]).is_empty());

    for (file, model) in [(&crnn, "crnn"), (&cnn, "cnn")] {
        let said = home.ok(&["weights", "import", word(file)]);
        let own = home.store().join(format!("{model}.safetensors"));
        assert!(said.starts_with(&format!("{model}  {}", own.display())), "{said}");
        assert!(said.contains("from the published") || said.contains("(the published"), "{said}");
        assert!(own.is_file());
    }
    let listed = home.ok(&["weights", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().all(|line| line.ends_with("<- used")), "{listed}");
    let verified = home.ok(&["weights", "verify"]);
    assert!(verified.lines().all(|line| line.starts_with("ok ")), "{verified}");
    assert!(verified.contains("396786 weights"), "{verified}");
    // `models` and the tagger look in the same place.
    let models = home.ok(&["models"]);
    assert!(models.contains(word(&home.store().join("crnn.safetensors"))), "{models}");
}

#[test]
fn an_exported_file_can_be_imported_again() {
    let Some(crnn) = published(CRNN) else { return };
    let home = Home::new();
    home.ok(&["weights", "import", word(&crnn)]);
    home.ok(&["weights", "export", "crnn", "-o", "again.safetensors"]);
    let own = home.store().join("crnn.safetensors");
    assert_eq!(fs::read(&own).unwrap(), fs::read(home.path("again.safetensors")).unwrap());

    home.ok(&["weights", "export", word(&crnn), "-o", "half.safetensors", "--precision", "f16"]);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&home.path("half.safetensors")) < size(&own) * 6 / 10);
    let verified = home.ok(&["weights", "verify", "half.safetensors"]);
    assert!(verified.contains("f16") && verified.contains("from the published"), "{verified}");
    home.ok(&["weights", "import", "half.safetensors"]);
}

#[test]
fn published_files_in_the_store_are_used_as_they_are() {
    let (Some(crnn), Some(other)) = (published(CRNN), published("music_tagger_crnn_weights_tensorflow.h5"))
    else {
        return;
    };
    let home = Home::new();
    fs::create_dir_all(home.store()).unwrap();
    for file in [&crnn, &other] {
        fs::copy(file, home.store().join(file.file_name().unwrap())).unwrap();
    }
    let models = home.ok(&["models"]);
    assert!(models.contains(word(&home.store().join(CRNN))), "{models}");
    let listed = home.ok(&["weights", "list"]);
    assert!(listed.lines().next().unwrap().ends_with("<- used"), "{listed}");
    assert!(!listed.lines().nth(1).unwrap().ends_with("<- used"), "{listed}");

    // A fetch finds the published file without network, and warns if `tag` would use another file.
    let said = home.ok(&["weights", "fetch", "crnn", "--offline"]);
    assert!(said.contains(CRNN) && said.contains("already there"), "{said}");
    let output = home.run(&["weights", "fetch", "crnn", "--variant", "tensorflow", "--offline"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("takes precedence"));
}

#[test]
fn a_damaged_file_is_refused() {
    let Some(crnn) = published(CRNN) else { return };
    let home = Home::new();
    let mut bytes = fs::read(&crnn).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(home.path(CRNN), &bytes).unwrap();
    let output = home.run(&["weights", "verify", CRNN]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("BAD") && said.contains("expected sha256"), "{said}");

    fs::write(home.path(CRNN), &bytes[..middle]).unwrap();
    home.fails(1, &["weights", "import", CRNN]);
    home.fails(1, &["weights", "export", CRNN, "-o", "out.safetensors"]);
    fs::write(home.path("noise.h5"), b"nothing of the kind").unwrap();
    let said = home.fails(1, &["weights", "import", "noise.h5"]);
    assert_eq!(said.matches("expected Keras 1 HDF5 or safetensors").count(), 1, "{said}");
    assert!(!home.store().join("crnn.safetensors").exists());
    assert!(!home.path("out.safetensors").exists());
}

#[test]
fn the_file_of_one_model_is_not_another() {
    let Some(cnn) = published(CNN) else { return };
    let home = Home::new();
    let said = home.fails(1, &["weights", "import", word(&cnn), "--model", "crnn"]);
    assert!(said.contains("\"bn0.gamma\": expected [1440], found [1366]"), "{said}");
}

#[test]
fn offline_says_what_to_download() {
    let home = Home::new();
    assert!(home.ok(&["weights", "fetch", "small", "--offline"]).contains("nothing to fetch"));
    for model in models::all().into_iter().filter(|model| !model.is_embedded()) {
        let entry = model.manifest().unwrap().files[0].clone();
        let said = home.fails(2, &["weights", "fetch", model.name(), "--offline"]);
        for word in [&entry.url, &entry.name, word(&home.store())] {
            assert!(said.contains(word), "{said}");
        }
    }
    let said = home.fails(2, &["tag", "a.mp3"]);
    assert!(said.contains("tagwave weights fetch crnn") && said.contains(word(&home.store())), "{said}");
}

#[test]
fn wrong_usage() {
    let home = Home::new();
    for arguments in [
        &["weights"][..],
        &["weights", "import"],
        &["weights", "import", "no such file.h5"],
        &["weights", "fetch"],
        &["weights", "fetch", "nothing", "--offline"],
        &["weights", "fetch", "crnn", "--variant", "torch"],
        &["weights", "verify"],
        &["weights", "verify", "crnn"],
        &["weights", "export", "crnn", "-o", "out.safetensors"],
        &["weights", "export", "crnn"],
    ] {
        let said = home.fails(2, arguments);
        if arguments == ["weights", "verify", "crnn"] {
            assert!(said.contains("tagwave weights fetch crnn"), "{said}");
        }
    }
    assert!(!home.store().exists());
}

/// Ctrl-C while a server is silent, simulated by a proxy that accepts and does not answer.
#[cfg(unix)]
#[test]
fn an_interrupted_fetch_leaves_nothing() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let mut command = home.command(&["weights", "fetch", "crnn"]);
    command.env_remove("NO_PROXY").env_remove("no_proxy").stderr(std::process::Stdio::piped());
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "all_proxy", "https_proxy"] {
        command.env(variable, &proxy);
    }
    let child = command.spawn().unwrap();
    // The request has arrived, so the handler is in place and the partial file exists.
    let connection = listener.accept().unwrap();
    assert_eq!(fs::read_dir(home.store()).unwrap().count(), 1);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(connection);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(home.store()).unwrap().count(), 0);
}
