//! Faults of settings, devices and threads: each is an error with advice, and nothing hangs.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu"))]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::audio::{tone, wav_f32};
use common::seeded::{labels, tiny, weights_of};
use tagwave::ErrorKind;
use tagwave::audio::{ClipReader, ClipRequest, Placement, Resamplers, Source};
use tagwave::error::Cause;
use tagwave::models::{self, Compat, Model};
use tagwave::tagger::{Device, OriginalBatch, Outputs, Tagger, Track};
use tagwave::tags::TagSelection;
use tagwave::test_cases::synthetic_clip;
use tagwave::weights::Weights;

#[test]
fn labels_are_as_many_as_scores() {
    let builder = || Tagger::builder().device(Device::Cpu);
    for count in [10, 60] {
        let (model, weights) = tiny(count);
        // The model's own list has 50.
        let error = builder().build_from(model, &weights).unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Labels { scores, labels: 50, .. } if *scores == count),
            "{count}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::Input);
        let text = error.to_string();
        assert!(
            text.contains(&count.to_string()) && text.contains("50") && text.contains("labels"),
            "{text}"
        );
        let (model, weights) = tiny(count);
        let tagger = builder().labels(labels(count)).build_from(model, &weights).unwrap();
        let track = tagger.tag_samples(&synthetic_clip(12_000), 12_000).unwrap();
        let tags = tagger.tags(&track, TagSelection::Top(100));
        assert_eq!((track.scores.len(), tags.len()), (count, count));
        for tag in &tags {
            let index: usize = tag.label.strip_prefix("label ").unwrap().parse().unwrap();
            assert_eq!(tag.score, track.scores[index]);
        }
    }
    // A wrong number of labels is an error, also without scores; features need no labels.
    let (model, weights) = tiny(10);
    let error =
        builder().labels(labels(9)).outputs(Outputs::Embedding).build_from(model, &weights).unwrap_err();
    assert!(matches!(error.cause(), Cause::Labels { scores: 10, labels: 9, .. }), "{error}");
    let (model, weights) = tiny(10);
    assert!(builder().outputs(Outputs::Embedding).build_from(model, &weights).is_ok());
    let error = builder().labels(labels(49)).build().unwrap_err();
    assert!(matches!(error.cause(), Cause::Labels { scores: 50, labels: 49, .. }), "{error}");
}

/// A network whose clips depend on each other.
fn dependent() -> (Model, Weights) {
    let model = Model::new("compact", models::compact::Config::tiny(), labels(11));
    let weights = weights_of(model.architecture());
    (model, weights)
}

#[test]
fn scores_that_depend_on_the_batch_come_from_one_place() {
    let (model, weights) = dependent();
    let builder = Tagger::builder().device(Device::Cpu).compat(Compat::Original).labels(labels(11));
    let error = builder.build_from(model, &weights).unwrap_err();
    assert!(matches!(error.cause(), Cause::DependentClips { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (model, weights) = dependent();
    let clip = |seed: usize| -> Vec<f32> {
        (0..model.architecture().clip().samples)
            .map(|i| ((i * (seed + 3)) as f32 * 0.01).sin() * 0.3)
            .collect()
    };
    let (one, two, three) = (clip(0), clip(1), clip(2));
    let run = |device: Device, clips: &[&Vec<f32>]| {
        let batch = OriginalBatch::new(&model, &weights, &device, clips.len()).unwrap();
        batch.run(&clips.iter().map(|clip| clip.to_vec()).collect::<Vec<_>>())
    };
    let together = run(Device::Reference, &[&one, &two, &three]).unwrap();
    let alone = run(Device::Reference, &[&one]).unwrap();
    assert_ne!(together[0].scores, alone[0].scores, "the batch makes no difference");
    // The CPU executor runs one clip per batch, and refuses more.
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close(&run(Device::Cpu, &[&one]).unwrap()[0].scores, &alone[0].scores));
    let error = run(Device::Cpu, &[&one, &two]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(OriginalBatch::new(&model, &weights, &Device::Cpu, 1).unwrap().run(&[vec![0.0; 5]]).is_err());
}

/// Something that happens to a file while it is read.
type Change = fn(&Path);

const CHANGES: [(&str, Change); 5] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("emptied", |path| drop(fs::File::create(path).unwrap())),
    ("truncated", |path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 3).unwrap();
    }),
    ("overwritten", |path| {
        let length = fs::metadata(path).unwrap().len() as usize;
        fs::write(path, vec![0xa5; length]).unwrap();
    }),
    ("replaced", |path| {
        let other = path.with_extension("other");
        fs::write(&other, wav_f32(12_000, &tone(5 * 12_000, 12_000, 880.0))).unwrap();
        fs::rename(other, path).unwrap();
    }),
];

/// Between two clips of a file, it changes: the next clips are those of the file as it was, or an error.
#[test]
fn a_file_that_changes_while_it_is_read_fails_or_is_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("song.wav");
    let song = wav_f32(12_000, &tone(600 * 12_000, 12_000, 440.0));
    let request = ClipRequest {
        placement: Placement::All { stride_samples: 12_000 * 29 },
        ..ClipRequest::new(12_000, 12_000 * 29)
    };
    let resamplers = Resamplers::new();
    fs::write(&path, &song).unwrap();
    let whole: Vec<Vec<f32>> = ClipReader::open(Source::path(&path), &request, &resamplers)
        .unwrap()
        .map(|clip| clip.unwrap().samples.to_vec())
        .collect();
    assert!(whole.len() > 15);
    for (name, change) in CHANGES {
        fs::write(&path, &song).unwrap();
        let mut reader = ClipReader::open(Source::path(&path), &request, &resamplers).unwrap();
        assert!(reader.next().unwrap().unwrap().samples[..] == whole[0][..]);
        change(&path);
        let mut wrong = 0;
        for (found, expected) in reader.by_ref().take(1000).zip(&whole[1..]) {
            let Ok(clip) = found else { break };
            assert!(clip.samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 1e30), "{name}");
            wrong += usize::from(clip.samples[..] != expected[..]);
        }
        // Bytes that are overwritten in place are samples to a reader; nothing tells them from a song.
        let may_differ = name == "overwritten" || !reader.warnings().is_empty();
        assert!(wrong == 0 || may_differ, "{name}: {wrong} other clips without a warning");
    }
}

/// Files that change during a batch fail or are read; the rows of the other files stay the same.
#[test]
fn files_that_change_do_not_touch_other_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (model, weights) = tiny(11);
    let tagger = Tagger::builder()
        .device(Device::Cpu)
        .labels(labels(11))
        .max_batch(2)
        .build_from(model, &weights)
        .unwrap();
    let song = |index: usize| wav_f32(12_000, &tone(60 * 12_000, 12_000, 200.0 + 50.0 * index as f64));
    let paths: Vec<PathBuf> = (0..40).map(|index| folder.path().join(format!("{index}.wav"))).collect();
    let write = || paths.iter().enumerate().for_each(|(index, path)| fs::write(path, song(index)).unwrap());
    write();
    let sources = || paths.iter().map(Source::path);
    let scores = |track: &Result<Track, _>| track.as_ref().ok().map(|track: &Track| track.scores.clone());
    let expected: Vec<_> = tagger.tag_batch(sources()).iter().map(scores).collect();
    assert!(expected.iter().all(Option::is_some));
    for (name, change) in CHANGES {
        write();
        let found = std::thread::scope(|scope| {
            // Every second file, in the order in which they are read.
            scope.spawn(|| {
                for path in paths.iter().skip(1).step_by(2) {
                    change(path);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            tagger.tag_batch(sources())
        });
        assert_eq!(found.len(), paths.len());
        for index in (0..paths.len()).step_by(2) {
            assert_eq!(scores(&found[index]), expected[index], "{name}: row {index} is of another file");
        }
        for track in found.iter().flatten() {
            assert!(track.scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
        }
    }
}

/// Set for the process that runs [`without_threads`].
const CHILD: &str = "TAGWAVE_TEST_WITHOUT_THREADS";

/// Runs this test in a child process in which no thread can be started, because stacks are too large.
#[test]
fn without_threads() {
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "without_threads", "--test-threads=1", "--nocapture"]);
        let output =
            child.env(CHILD, "1").env("RUST_MIN_STACK", (1usize << 46).to_string()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success() && said[0].contains("3 sources, 3 errors"), "{said:?}");
        return;
    }
    if std::thread::Builder::new().spawn(|| ()).is_ok() {
        panic!("a thread was started after all");
    }
    let (model, weights) = tiny(11);
    let tagger =
        Tagger::builder().device(Device::Reference).labels(labels(11)).build_from(model, &weights).unwrap();
    let source = || Source::samples(synthetic_clip(9000), 12_000);
    let results = tagger.tag_batch([source(), source(), source()]);
    for result in &results {
        let error = result.as_ref().unwrap_err();
        assert!(matches!(error.cause(), Cause::Threads { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Resource);
    }
    println!("3 sources, {} errors", results.len());
    // The CPU executor fails when it is created.
    let (model, weights) = tiny(11);
    let builder = Tagger::builder().device(Device::Cpu).labels(labels(11));
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        let error = builder.build_from(model, &weights).unwrap_err();
        assert!(matches!(error.cause(), Cause::Cpu(_)), "{error}");
    }
}
