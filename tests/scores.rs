//! Digests of the scores of whole models over a folder of music: run by `cargo xtask scores`.
//!
//! A change that is not meant to change results leaves every digest as it is, to the last bit. One line of
//! `tests/golden/scores.txt` holds a model, an executor, and the SHA-256 of all its scores. Bits of the CPU executor
//! depend on its SIMD level, those of a GPU on its driver: both are part of the executor's name, and an executor
//! without a line is reported as not compared.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "keras", feature = "small"))]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tagwave::audio::{ExternalDecoder, Source};
use tagwave::cpu::SimdLevel;
use tagwave::models;
use tagwave::tagger::{Device, Tagger};

/// Folder of music to tag.
const FOLDER: &str = "TAGWAVE_SCORES_FOLDER";
/// Set to write the digests instead of comparing them.
const WRITE: &str = "TAGWAVE_SCORES_WRITE";

const HEAD: &str = "# SHA-256 of the score bits of all files of a folder, made and compared by `cargo xtask scores FOLDER`.\n\
                    # model, executor, files, clips, digest; separated by tabs.\n";

/// Model and executor.
type JournalKey = (String, String);

#[test]
#[ignore = "needs a folder of music: cargo xtask scores FOLDER"]
fn scores_have_the_committed_digests() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        println!("not run: {FOLDER} is not set");
        return;
    };
    let files = files(&folder);
    let gpu = common::gpu();
    let gpu_name = gpu.as_ref().map(|gpu| format!("gpu {}", gpu.summary().driver));
    let widest = SimdLevel::available()[0];
    let mut found = BTreeMap::new();
    for model in models::all() {
        let weights =
            std::env::var_os("TAGWAVE_FIXTURES").map(|folder| PathBuf::from(folder).join("weights"));
        if weights.is_none() && !model.is_embedded() {
            println!("not run: {} (TAGWAVE_FIXTURES is not set)", model.name());
            continue;
        }
        let mut executors = vec![(format!("cpu {}", widest.as_str()), Device::Cpu)];
        executors.extend(gpu_name.clone().map(|name| (name, Device::Gpu)));
        for (executor, device) in executors {
            let mut builder = Tagger::builder()
                .model(model.name())
                .device(device.clone())
                .external_decoder(ExternalDecoder::Disabled);
            if let Some(folder) = weights.as_ref().filter(|_| !model.is_embedded()) {
                builder = builder.weights(folder);
            }
            if let Some(gpu) = gpu.as_ref().filter(|_| device == Device::Gpu) {
                builder = builder.gpu(gpu.clone());
            }
            let line = digest(&builder.build().unwrap(), &files);
            println!("{}\t{executor}\t{line}", model.name());
            found.insert((model.name().to_string(), executor), line);
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scores.txt");
    let committed = parse(&std::fs::read_to_string(&golden).unwrap_or_default());
    if std::env::var_os(WRITE).is_some() {
        let all: BTreeMap<JournalKey, String> = committed.into_iter().chain(found).collect();
        let lines = all.iter().map(|((model, executor), line)| format!("{model}\t{executor}\t{line}\n"));
        std::fs::write(&golden, HEAD.to_string() + &lines.collect::<String>()).unwrap();
        return;
    }
    let mut compared = 0;
    for (key, line) in &found {
        match committed.get(key) {
            Some(expected) => assert_eq!(line, expected, "{key:?}: the scores have changed"),
            None => println!("not run: {} has no digest for {}", key.1, key.0),
        }
        compared += usize::from(committed.contains_key(key));
    }
    println!("{compared} digests compared");
}

/// Every file of the folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Number of files that were tagged, number of their clips, and the digest of all scores in order. Files that are no
/// audio, or that need an external decoder, are left out.
fn digest(tagger: &Tagger, files: &[PathBuf]) -> String {
    let (mut hash, mut tracks, mut clips) = (Sha256::new(), 0, 0);
    for track in tagger.tag_batch(files.iter().map(Source::path)).into_iter().flatten() {
        tracks += 1;
        clips += track.clips.len();
        for scores in track.clips.iter().map(|clip| &clip.scores).chain([&track.scores]) {
            scores.iter().for_each(|score| hash.update(score.to_bits().to_le_bytes()));
        }
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{tracks}\t{clips}\t{hex}")
}

fn parse(text: &str) -> BTreeMap<JournalKey, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.splitn(3, '\t');
            Some(((fields.next()?.into(), fields.next()?.into()), fields.next()?.into()))
        })
        .collect()
}
