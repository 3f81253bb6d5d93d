//! Scores of whole models over many files, beside their digests (`cargo xtask scores`) and beside those of MP3 decoded in
//! full (`cargo xtask mp3-scores`).
//!
//! A change that is not meant to change results leaves every digest as it is, to the last bit. One line of
//! `tests/golden/scores.txt` holds a model, an executor, and the SHA-256 of all its scores. Bits of the CPU executor
//! depend on its SIMD level, those of a GPU on its driver: both are part of the executor's name, and an executor
//! without a line is reported as not compared.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "keras", feature = "small"))]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tagwave::audio::{DecoderMode, ExternalDecoder, Source};
use tagwave::cpu::SimdLevel;
use tagwave::models::{self, Model};
use tagwave::tagger::{Device, Tagger, TaggerBuilder};

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
        let mut executors = vec![(format!("cpu {}", widest.as_str()), Device::Cpu)];
        executors.extend(gpu_name.clone().map(|name| (name, Device::Gpu)));
        for (executor, device) in executors {
            let Some(mut builder) = builder_of(&model) else { continue };
            builder = builder.device(device.clone());
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

/// Builder for a model; `None`, with a message, without its weights.
fn builder_of(model: &Model) -> Option<TaggerBuilder> {
    let builder = Tagger::builder().model(model.name()).external_decoder(ExternalDecoder::Disabled);
    if model.is_embedded() {
        return Some(builder);
    }
    Some(builder.weights(common::fixture("weights")?))
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

/// Folder of MP3s to tag instead of encodings.
const MP3_FOLDER: &str = "TAGWAVE_MP3_FOLDER";

/// Pieces of music per encoder setting.
const PIECES: usize = 6;

/// Largest difference of a score.
const LIMIT: f32 = 1e-4;

/// Settings of `ffmpeg`, or of `lame`: bit rates, sample rates and channel modes.
const SETTINGS: [&str; 48] = [
    "libmp3lame -b:a 64k",
    "libmp3lame -b:a 96k",
    "libmp3lame -b:a 128k",
    "libmp3lame -b:a 160k",
    "libmp3lame -b:a 192k",
    "libmp3lame -b:a 256k",
    "libmp3lame -b:a 320k",
    "libmp3lame -b:a 128k -joint_stereo 0",
    "libmp3lame -b:a 320k -joint_stereo 0",
    "libmp3lame -b:a 160k -abr 1",
    "libmp3lame -b:a 64k -ac 1",
    "libmp3lame -q:a 0",
    "libmp3lame -q:a 2",
    "libmp3lame -q:a 5",
    "libmp3lame -q:a 8",
    "libmp3lame -ar 48000 -b:a 128k",
    "libmp3lame -ar 48000 -b:a 320k",
    "libmp3lame -ar 48000 -q:a 2",
    "libmp3lame -ar 32000 -b:a 64k",
    "libmp3lame -ar 32000 -b:a 160k -joint_stereo 0",
    "libmp3lame -ar 32000 -q:a 4",
    "libmp3lame -ar 24000 -b:a 48k",
    "libmp3lame -ar 24000 -q:a 4",
    "libmp3lame -ar 22050 -b:a 32k",
    "libmp3lame -ar 22050 -b:a 64k -joint_stereo 0",
    "libmp3lame -ar 22050 -b:a 160k",
    "libmp3lame -ar 22050 -b:a 40k -ac 1",
    "libmp3lame -ar 16000 -b:a 32k",
    "libmp3lame -ar 16000 -b:a 64k",
    "libmp3lame -ar 16000 -b:a 160k -joint_stereo 0",
    "libmp3lame -ar 16000 -q:a 4 -ac 1",
    "libmp3lame -ar 12000 -b:a 32k",
    "libmp3lame -ar 11025 -b:a 32k",
    "libmp3lame -ar 8000 -b:a 24k",
    "libshine -b:a 128k",
    "libshine -b:a 192k",
    "libshine -b:a 320k",
    "libshine -ar 48000 -b:a 192k",
    "libshine -ar 32000 -b:a 128k",
    "libshine -b:a 96k",
    "lame --preset extreme",
    "lame -m f -b 128",
    "lame -m s -b 320 --lowpass 20",
    "lame --abr 112 --lowpass 8",
    "lame -m d -b 192",
    "lame --nores -b 192",
    "lame -V 4 --resample 22.05",
    "lame -q 9 -b 48 --resample 16",
];

/// Differences of the scores of MP3 decoded as the models hear it from those of full decoding.
#[test]
#[ignore = "minutes, and needs encoders: cargo xtask mp3-scores [FOLDER]"]
fn heard_mp3_has_the_scores_of_full_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let groups = match std::env::var_os(MP3_FOLDER).map(PathBuf::from) {
        Some(folder) => {
            files(&folder).into_iter().map(|path| (path.display().to_string(), vec![path])).collect()
        }
        None => encodings(folder.path()),
    };
    let mut largest = 0.0f32;
    for model in models::all() {
        let Some(builder) = builder_of(&model) else { continue };
        let builder = builder.device(Device::Cpu);
        let heard = builder.clone().build().unwrap();
        let full = builder.decoder(DecoderMode::FullBand).build().unwrap();
        let (mut compared, mut in_full, mut of_model) = (0, 0, 0.0f32);
        for (setting, paths) in &groups {
            let mut of_setting = 0.0f32;
            let tracks = |tagger: &Tagger| tagger.tag_batch(paths.iter().map(Source::path));
            for (heard, full) in tracks(&heard).into_iter().zip(tracks(&full)) {
                let (heard, full) = (heard.unwrap(), full.unwrap());
                assert_eq!(full.decoder, "tagwave-full", "{setting}");
                if heard.decoder != "tagwave" {
                    in_full += 1;
                    continue;
                }
                compared += 1;
                let differences = heard.scores.iter().zip(&full.scores).map(|(a, b)| (a - b).abs());
                of_setting = differences.fold(of_setting, f32::max);
            }
            println!("{}\t{of_setting:.1e}\t{setting}", model.name());
            of_model = of_model.max(of_setting);
        }
        println!("{}: {of_model:.1e} in {compared} files, {in_full} more decoded in full", model.name());
        assert!(compared > 0);
        largest = largest.max(of_model);
    }
    assert!(largest <= LIMIT, "a score differs by {largest:.1e}");
}

/// Encodings in a folder, by setting.
fn encodings(folder: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let sources = [common::fixture("samples"), common::fixture("audio")].into_iter().flatten();
    let is_audio = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["mp3", "ogg", "opus"].iter().any(|known| extension == *known))
    };
    let sources: Vec<PathBuf> = sources.flat_map(|folder| files(&folder)).filter(is_audio).collect();
    assert!(sources.len() >= PIECES, "no music: TAGWAVE_FIXTURES is not set");
    let pieces: Vec<PathBuf> = (0..sources.len()).map(|i| folder.join(format!("{i}.wav"))).collect();
    for (source, piece) in sources.iter().zip(&pieces) {
        let mut decode = Command::new("ffmpeg");
        decode.args(["-nostdin", "-v", "error", "-stream_loop", "3", "-i"]).arg(source);
        run(decode.args("-map 0:a:0 -t 34 -ac 2 -ar 44100".split(' ')).arg(piece));
    }
    let mut encodings = Vec::new();
    for (i, setting) in SETTINGS.iter().enumerate() {
        let mut paths = Vec::new();
        for k in 0..PIECES {
            let (from, to) = (&pieces[(i * PIECES + k) % pieces.len()], folder.join(format!("{i}-{k}.mp3")));
            let mut encode = Command::new(if setting.starts_with("lame ") { "lame" } else { "ffmpeg" });
            match setting.strip_prefix("lame ") {
                Some(arguments) => encode.arg("--quiet").args(arguments.split(' ')).arg(from),
                None => encode
                    .args(["-nostdin", "-v", "error", "-i"])
                    .arg(from)
                    .arg("-c:a")
                    .args(setting.split(' ')),
            };
            run(encode.arg(&to));
            paths.push(to);
        }
        encodings.push((setting.to_string(), paths));
    }
    println!("{} encodings of {} pieces", SETTINGS.len() * PIECES, sources.len());
    encodings
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}");
}
