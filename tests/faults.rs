//! Faults of settings, devices and threads: each is an error that says what to do, and nothing hangs.

mod common;

use std::process::Command;
use std::time::Duration;

use common::seeded::{labels, tiny, weights_of};
use tagwave::Error;
use tagwave::audio::Source;
use tagwave::error::ErrorKind;
use tagwave::models::{self, Reading};
use tagwave::tagger::{Device, Outputs, Tagger, Track};
use tagwave::tags::TagSelection;
use tagwave::test_cases::synthetic_clip;

#[test]
fn labels_are_as_many_as_scores() {
    let builder = || Tagger::builder().device(Device::Cpu);
    for count in [10, 60] {
        let (model, weights) = tiny(count);
        // The model's own list has 50.
        let error = builder().build_from(model, &weights).unwrap_err();
        assert!(
            matches!(error, Error::Labels { scores, labels: 50, .. } if scores == count),
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
    // Labels that fit nothing, also where no scores are asked for; features need none.
    let (model, weights) = tiny(10);
    let error =
        builder().labels(labels(9)).outputs(Outputs::Embedding).build_from(model, &weights).unwrap_err();
    assert!(matches!(error, Error::Labels { scores: 10, labels: 9, .. }), "{error}");
    let (model, weights) = tiny(10);
    assert!(builder().outputs(Outputs::Embedding).build_from(model, &weights).is_ok());
    let error = builder().labels(labels(49)).build().unwrap_err();
    assert!(matches!(error, Error::Labels { scores: 50, labels: 49, .. }), "{error}");
}

/// Runs `work` and fails if it takes longer than a minute: what is tested here would wait for ever.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("a hang")
}

/// A network whose clips depend on each other, on the slowest and most predictable device.
fn coupled(batch: usize) -> Tagger {
    let mut model = models::find("compact").unwrap();
    model.architecture = Box::new(models::compact::Config::tiny());
    let weights = weights_of(&*model.architecture);
    let builder = Tagger::builder().device(Device::Reference).reading(Reading::Upstream);
    builder.labels(labels(11)).coupled_batch(batch).build_from(model, &weights).unwrap()
}

#[test]
fn a_coupled_batch_is_filled_from_behind_any_number_of_bad_files() {
    let clip = |seed: usize| -> Vec<f32> {
        (0..8192).map(|i| ((i * (seed + 3)) as f32 * 0.01).sin() * 0.3).collect()
    };
    let good = move |seed: usize| Source::samples(clip(seed), 12_000);
    let bad = || (0..300).map(|_| Source::path("no such file"));
    let results = in_time(move || coupled(8).tag_batch(std::iter::once(good(0)).chain(bad())));
    assert_eq!(results.len(), 301);
    assert!(results[0].is_ok(), "{:?}", results[0]);
    assert!(results[1..].iter().all(Result::is_err));
    // Neighbours stay neighbours, however many files between them cannot be read.
    let results = in_time(move || {
        let sources = std::iter::once(good(0)).chain(bad()).chain([good(1), good(2)]);
        let between = coupled(2).tag_batch(sources);
        (between, coupled(2).tag_batch([good(0), good(1), good(2)]))
    });
    let scores = |results: &[Result<Track, Error>]| -> Vec<Vec<f32>> {
        results.iter().flatten().map(|track| track.scores.clone()).collect()
    };
    assert_eq!(scores(&results.0), scores(&results.1));
    assert_eq!(scores(&results.0).len(), 3);
}

/// Set for the process that runs [`without_threads`].
const CHILD: &str = "TAGWAVE_TEST_WITHOUT_THREADS";

/// A process none of whose threads can be started: no stack is so large. It is this test again.
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
        assert!(matches!(error, Error::Threads { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Resource);
    }
    println!("3 sources, {} errors", results.len());
    // The CPU executor says so when it is made.
    let (model, weights) = tiny(11);
    let builder = Tagger::builder().device(Device::Cpu).labels(labels(11));
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        let error = builder.build_from(model, &weights).unwrap_err();
        assert!(matches!(error, Error::Cpu(_)), "{error}");
    }
}
