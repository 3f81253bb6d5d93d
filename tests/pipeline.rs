//! From audio files to tags: the original's published scores, and unusual files.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "keras"))]

mod common;

use std::path::{Path, PathBuf};

use common::audio::wav_f32;
use common::{npz, seeded};
use tagwave::audio::{DecoderMode, Source};
use tagwave::error::Cause;
use tagwave::gpu::Context;
use tagwave::models::{self, Compat};
use tagwave::tagger::{Device, Tagger, TaggerBuilder, TaggerWarning, Track};
use tagwave::tags::TagSelection;
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases::{Tolerance, compare};
use tagwave::{CancelToken, Error, ErrorKind};

const CLIPS: [&str; 4] = ["cute", "actionable", "dubstep", "thejazzpiano"];

/// The four MP3s of the original, and a tagger for CRNN with its weights.
fn original(gpu: &Context) -> Option<(Vec<PathBuf>, TaggerBuilder)> {
    let weights = common::fixture("weights/music_tagger_crnn_weights_theano.h5")?;
    let files = CLIPS.map(|clip| common::fixture(&format!("audio/bensound-{clip}.mp3")));
    let builder = Tagger::builder().model("crnn").gpu(gpu.clone()).weights(weights);
    Some((files.into_iter().collect::<Option<_>>()?, builder))
}

fn tag_all(tagger: &Tagger, files: &[PathBuf]) -> Vec<Track> {
    tagger
        .tag_batch(files.iter().map(Source::path).collect::<Vec<_>>())
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// The last table of the original's README: ten tags for each of the four clips.
#[test]
fn the_published_crnn_table() {
    let Some(gpu) = common::gpu() else { return };
    let Some((files, builder)) = original(&gpu) else { return };
    let Some(tables) = common::fixture("golden/published_tables.json") else { return };
    let tables: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(tables).unwrap()).unwrap();
    let table = tables.iter().find(|table| table["readme_commit"] == "f9438fb").unwrap();

    let tagger = builder.compat(Compat::Original).decoder(DecoderMode::Original).build().unwrap();
    let mut figures = 0;
    let mut worst = 0.0f64;
    for (clip, track) in CLIPS.iter().zip(tag_all(&tagger, &files)) {
        let published = table["published"][clip].as_object().unwrap();
        let tags = tagger.tags(&track, TagSelection::Top(10));
        for tag in &tags {
            let figure =
                published.get(&tag.label).unwrap_or_else(|| panic!("{clip}: {} is not published", tag.label));
            let difference = (f64::from(tag.score) - figure.as_f64().unwrap()).abs();
            assert!(difference < 0.0006, "{clip}: {} {} for {figure}", tag.label, tag.score);
            worst = worst.max(difference);
            figures += 1;
        }
    }
    println!("{figures} figures, worst difference {worst:.6}");
    assert_eq!(figures, 40);
}

fn golden_scores(file: &str) -> Option<HostTensor> {
    Some(npz::array(&common::fixture(file)?, "probs"))
}

/// With the original's decoder and resampler, scores are close to those of the original's spectrogram.
#[test]
fn decoded_samples_give_the_golden_scores() {
    let Some(gpu) = common::gpu() else { return };
    for (compat, file) in
        [(Compat::Corrected, "golden/crnn_trained.npz"), (Compat::Original, "golden/crnn_published.npz")]
    {
        let Some((files, builder)) = original(&gpu) else { return };
        let Some(golden) = golden_scores(file) else { return };
        let tagger = builder.compat(compat).decoder(DecoderMode::Original).build().unwrap();
        for (clip, track) in tag_all(&tagger, &files).iter().enumerate() {
            let found = HostTensor::new([50], track.scores.clone()).unwrap();
            let expected = HostTensor::new([50], golden.row(clip).to_vec()).unwrap();
            let difference = compare(&found, &expected, Tolerance { absolute: 2e-3, relative: 0.0 });
            println!("{} {}: {difference}", compat.as_str(), CLIPS[clip]);
            assert!(difference.within, "{} {}: {difference}", compat.as_str(), CLIPS[clip]);
        }
    }
}

/// Without the original's decoder, frames are shifted by 529 samples and tags are nearly the same.
#[test]
fn a_plain_decode_gives_nearly_the_golden_tags() {
    let Some(gpu) = common::gpu() else { return };
    let Some((files, builder)) = original(&gpu) else { return };
    let Some(golden) = golden_scores("golden/crnn_trained.npz") else { return };
    let tagger = builder.build().unwrap();
    for (clip, track) in tag_all(&tagger, &files).iter().enumerate() {
        let top = |scores: &[f32]| {
            let mut order: Vec<usize> = (0..50).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            order[..5].to_vec()
        };
        let (found, expected) = (top(&track.scores), top(golden.row(clip)));
        assert_eq!(found[0], expected[0], "{}: first tag", CLIPS[clip]);
        let common = found.iter().filter(|tag| expected.contains(tag)).count();
        assert!(common >= 4, "{}: {common} of the top 5 in common", CLIPS[clip]);
        for (score, golden) in track.scores.iter().zip(golden.row(clip)) {
            assert!((score - golden).abs() < 0.08, "{}: {score} for {golden}", CLIPS[clip]);
        }
    }
}

/// CRNN with synthetic weights.
fn filled(gpu: &Context) -> Tagger {
    painted_with(Tagger::builder().gpu(gpu.clone()).max_batch(3))
}

fn painted_with(builder: TaggerBuilder) -> Tagger {
    let model = models::find("crnn").unwrap();
    let weights = seeded::weights_of(model.architecture());
    builder.build_from(model, &weights).unwrap()
}

/// Writes a WAV file of 32-bit floats, mono.
fn wav(path: &Path, rate: u32, samples: &[f32]) {
    std::fs::write(path, wav_f32(rate, samples)).unwrap();
}

fn tone(rate: u32, seconds: f32, hz: f32) -> Vec<f32> {
    let count = (rate as f32 * seconds) as usize;
    (0..count).map(|n| 0.4 * (std::f32::consts::TAU * hz * n as f32 / rate as f32).sin()).collect()
}

/// Damaged and unusual files: each has a clear error or a valid result, and valid files are tagged.
#[test]
fn one_batch_of_good_and_bad_files() {
    let Some(gpu) = common::gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    wav(&at("good.wav"), 12_000, &tone(12_000, 31.0, 440.0));
    std::fs::write(at("empty.mp3"), b"").unwrap();
    std::fs::write(at("text.mp3"), "this is not music\n".repeat(400)).unwrap();
    wav(&at("short.wav"), 44_100, &tone(44_100, 0.2, 440.0));
    wav(&at("silence.wav"), 16_000, &vec![0.0; 16_000 * 5]);
    let mut broken = tone(12_000, 31.0, 300.0);
    broken[12_000 * 15] = f32::NAN;
    wav(&at("nan.wav"), 12_000, &broken);
    std::fs::create_dir(at("folder.mp3")).unwrap();
    wav(&at("good_too.wav"), 48_000, &tone(48_000, 30.0, 880.0));
    // Integers that call themselves floats: their spectrogram overflows.
    let loud: Vec<f32> = tone(12_000, 31.0, 300.0).iter().map(|v| v * 1e13).collect();
    wav(&at("loud.wav"), 12_000, &loud);
    let mut names = vec![
        "loud.wav",
        "good.wav",
        "empty.mp3",
        "text.mp3",
        "short.wav",
        "silence.wav",
        "nan.wav",
        "folder.mp3",
        "missing.mp3",
        "good_too.wav",
    ];
    // Half of a real MP3 is tagged.
    if let Some(mp3) = common::fixture("audio/bensound-cute.mp3") {
        let bytes = std::fs::read(mp3).unwrap();
        std::fs::write(at("truncated.mp3"), &bytes[..bytes.len() / 2 + 77]).unwrap();
        names.push("truncated.mp3");
    }

    let tagger = filled(&gpu);
    let results = tagger.tag_batch(names.iter().map(|name| Source::path(at(name))).collect::<Vec<_>>());
    assert_eq!(results.len(), names.len());
    for (name, result) in names.iter().zip(&results) {
        println!(
            "{name}: {}",
            match result {
                Ok(track) => format!("{:?} s, warnings {:?}", track.track_s, track.warnings),
                Err(error) => format!("{}: {error}", error.kind().as_str()),
            }
        );
        let kind = result.as_ref().err().map(Error::kind);
        let expected = match *name {
            "empty.mp3" | "loud.wav" | "nan.wav" | "folder.mp3" | "missing.mp3" => Some(ErrorKind::Input),
            "text.mp3" => Some(ErrorKind::Unsupported),
            _ => None,
        };
        assert_eq!(kind, expected, "{name}");
        if let Ok(track) = result {
            assert_eq!(track.scores.len(), 50);
            assert!(track.scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
        }
    }
    let warnings = |name: &str| {
        let place = names.iter().position(|other| *other == name).unwrap();
        let track = results[place].as_ref().unwrap();
        track.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(warnings("good.wav"), "");
    assert!(warnings("silence.wav").contains("silent"), "{}", warnings("silence.wav"));
    assert!(warnings("short.wav").contains("padded"), "{}", warnings("short.wav"));

    // The good files get the same bits alone as among the bad ones.
    for name in ["good.wav", "good_too.wav"] {
        let place = names.iter().position(|other| *other == name).unwrap();
        assert_eq!(tagger.tag_file(at(name)).unwrap(), *results[place].as_ref().unwrap(), "{name}");
    }
}

#[test]
fn results_come_in_order_from_many_more_files_than_a_batch() {
    let Some(gpu) = common::gpu() else { return };
    let tagger = filled(&gpu);
    let samples = |index: usize| tone(12_000, 0.5, 200.0 + 100.0 * (index % 3) as f32);
    let sources: Vec<_> = (0..11)
        .map(|index| match index % 4 {
            3 => Source::path("no such file"),
            _ => Source::samples(samples(index), 12_000),
        })
        .collect();
    let mut order = Vec::new();
    tagger.tag_each(sources, |index, result| {
        assert_eq!(result.is_err(), index % 4 == 3);
        order.push(index);
    });
    assert_eq!(order, (0..11).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_tagger_stops() {
    let Some(gpu) = common::gpu() else { return };
    let token = CancelToken::new();
    let tagger = painted_with(Tagger::builder().gpu(gpu.clone()).max_batch(1));
    let sources = std::iter::repeat_with(|| Source::samples(vec![0.1; 12_000], 12_000)).take(1000);
    let mut done = 0;
    tagger.tag_each_until(&token, sources.collect::<Vec<_>>(), |_, _| {
        done += 1;
        token.cancel();
    });
    assert!(done < 20, "{done} files after a cancellation");
    // The token belongs to that call: others give what a new tagger gives.
    let again = tagger.tag_samples(&[0.1; 12_000], 12_000).unwrap();
    let fresh = painted_with(Tagger::builder().gpu(gpu).max_batch(1));
    assert_eq!(again.scores, fresh.tag_samples(&[0.1; 12_000], 12_000).unwrap().scores);
    // A call with a cancelled token reads nothing.
    let sources = [Source::samples(vec![0.1; 12_000], 12_000)];
    tagger.tag_each_until(&token, sources, |_, _| panic!("no result after a cancellation"));
}

/// A track that was submitted is the one that a blocking call returns, however its result is taken.
#[test]
fn submitted_samples_give_the_same_track() {
    let Some(gpu) = common::gpu() else { return };
    let samples = tone(12_000, 45.0, 523.0);
    let all = tagwave::audio::Placement::All { stride_samples: 180_000 };
    for builder in [Tagger::builder().device(Device::Gpu), Tagger::builder().device(Device::Cpu)] {
        // More clips than a batch holds.
        let tagger = painted_with(builder.placement(all).max_batch(1));
        let expected = tagger.tag_samples(&samples, 12_000).unwrap();
        assert!(expected.clips.len() > 1);
        let submit = || tagger.submit(&samples, 12_000).unwrap();
        assert_eq!(submit().wait().unwrap(), expected);
        assert_eq!(pollster::block_on(submit()).unwrap(), expected);
        let mut pending = submit();
        let start = std::time::Instant::now();
        let found = loop {
            if let Some(found) = pending.try_take() {
                break found;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(start.elapsed() < std::time::Duration::from_secs(120));
        };
        assert_eq!(found.unwrap(), expected);
        // It is taken once.
        assert_eq!(pending.try_take().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        drop(submit());
        // Too loud for the spectrogram: an error, and nothing of the other clips afterwards.
        let mut loud = samples.clone();
        loud[200_000] = 1e25;
        let error = tagger.submit(&loud, 12_000).unwrap().wait().unwrap_err();
        assert!(matches!(error.cause(), Cause::TooLoud), "{error}");
        assert!(tagger.submit(&samples, 0).is_err());
        assert_eq!(submit().wait().unwrap(), expected);
    }
    drop(gpu);
}

#[test]
fn a_tagger_describes_itself() {
    let tagger = painted_with(Tagger::builder().device(Device::Cpu));
    assert_eq!((tagger.sample_rate_hz(), tagger.clip_samples()), (12_000, 349_440));
    assert_eq!((tagger.labels().len(), tagger.embedding_len(), tagger.device_bytes()), (50, 32, 0));
    tagger.warm_up().unwrap();
    let track = tagger.tag_samples(&tone(12_000, 5.0, 440.0), 12_000).unwrap();
    assert_eq!(track.embedding.len(), tagger.embedding_len());
    let Some(gpu) = common::gpu() else { return };
    assert!(filled(&gpu).device_bytes() > 1 << 20);
}

#[test]
fn threads_share_a_tagger() {
    let Some(gpu) = common::gpu() else { return };
    let tagger = filled(&gpu);
    let track = tagger.tag_samples(&tone(12_000, 2.0, 440.0), 12_000).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let again = tagger.tag_samples(&tone(12_000, 2.0, 440.0), 12_000).unwrap();
                assert_eq!(again, track);
            });
        }
    });
    assert_eq!(tagger.embed_samples(&tone(12_000, 2.0, 440.0), 12_000).unwrap(), track.embedding);
}

#[test]
fn the_reference_device_gives_the_same_tags() {
    let Some(gpu) = common::gpu() else { return };
    let on_gpu = filled(&gpu);
    let reference = painted_with(Tagger::builder().device(Device::Reference));
    assert_eq!(reference.device_name(), "reference");
    let clip = tone(12_000, 31.0, 523.0);
    let [found, expected] = [&on_gpu, &reference]
        .map(|tagger| HostTensor::new([50], tagger.tag_samples(&clip, 12_000).unwrap().scores).unwrap());
    let difference = compare(&found, &expected, Tolerance { absolute: 1e-4, relative: 0.0 });
    assert!(difference.within, "{difference}");
}

#[test]
fn f16_is_refused_where_it_overflows_and_close_elsewhere() {
    let Some(gpu) = common::gpu() else { return };
    if !gpu.summary().limits.f16 {
        return println!("f16: not run on this adapter");
    }
    let Some((files, builder)) = original(&gpu) else { return };
    let half = builder.clone().precision(DType::F16);
    let error = half.clone().compat(Compat::Original).build().unwrap_err();
    assert!(matches!(error.cause(), Cause::Precision), "{error}");
    let found = half.build().unwrap().tag_file(&files[3]).unwrap();
    let expected = builder.build().unwrap().tag_file(&files[3]).unwrap();
    let [found, expected] = [found, expected].map(|track| HostTensor::new([50], track.scores).unwrap());
    let difference = compare(&found, &expected, Tolerance { absolute: 5e-3, relative: 0.0 });
    println!("f16: {difference}");
    assert!(difference.within && difference.largest > 0.0, "{difference}");
}

/// Decoder threads end whatever the callback does.
#[test]
fn a_panicking_callback_does_not_hang() {
    let tagger = painted_with(Tagger::builder().device(Device::Cpu).max_batch(2));
    let sources: Vec<_> = (0..200).map(|_| Source::path("no such file")).collect();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tagger.tag_each(sources, |index, _| assert!(index < 3, "enough"));
    }));
    assert!(outcome.is_err());
    // The tagger is none the worse.
    assert!(tagger.tag_samples(&tone(12_000, 2.0, 440.0), 12_000).is_ok());
}

/// Cancellation with one slow source and a full window of fast ones.
#[test]
fn a_cancellation_behind_a_slow_source_does_not_hang() {
    let token = CancelToken::new();
    let builder = Tagger::builder().device(Device::Cpu).max_batch(1);
    let builder = builder.placement(tagwave::audio::Placement::All { stride_samples: 1200 });
    let tagger = painted_with(builder);
    let slow = Source::samples(vec![0.1; 12_000 * 600], 12_000);
    let quick = (0..300).map(|_| Source::path("no such file"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(400));
            token.cancel();
        });
        let sources: Vec<Source> = std::iter::once(slow).chain(quick).collect();
        tagger.tag_each_until(&token, sources, |index, _| assert_ne!(index, 0, "it was not finished"));
    });
}

fn cause(result: &Result<Track, Error>) -> Option<&Cause> {
    result.as_ref().err().map(Error::cause)
}

/// Readers that hang or panic.
struct Hangs;
struct Panics;

impl std::io::Read for Hangs {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        Ok(0)
    }
}

impl std::io::Read for Panics {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        panic!("a decoder's panic, meant to be");
    }
}

#[test]
fn a_hang_or_panic_fails_its_own_file() {
    // No model: this is about decoding.
    let builder = Tagger::builder().device(Device::None).decode_threads(2);
    let tagger = painted_with(builder.decoder_timeout(std::time::Duration::from_secs(1)));
    let start = std::time::Instant::now();
    // More that hang than there are threads.
    let sources = (0..12).map(|index| match index % 4 {
        1 => Source::reader(Hangs),
        2 => Source::reader(Panics),
        _ => Source::samples(tone(12_000, 1.0, 440.0), 12_000),
    });
    let results = tagger.tag_batch(sources.collect::<Vec<_>>());
    for (index, result) in results.iter().enumerate() {
        match index % 4 {
            1 => assert!(matches!(cause(result), Some(Cause::DecoderTimeout { .. })), "{index}: {result:?}"),
            2 => assert!(matches!(cause(result), Some(Cause::Panicked)), "{index}: {result:?}"),
            _ => assert!(result.is_ok(), "{index}: {result:?}"),
        }
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(30));
    // Who waits for a caller that takes his time does not hang.
    let slow = || std::thread::sleep(std::time::Duration::from_millis(40));
    let sources = (0..100).map(|_| Source::samples(vec![0.1; 12_000], 12_000));
    tagger.tag_each(sources, |_, result| {
        slow();
        assert!(result.is_ok(), "{result:?}");
    });
}

#[test]
fn a_lost_device_is_replaced_during_a_run() {
    let Some(gpu) = common::gpu() else { return };
    let tagger = filled(&gpu);
    let mut devices = Vec::new();
    // More than are ahead of the first result.
    const SOURCES: usize = 64;
    let sources = (0..SOURCES).map(|_| Source::samples(tone(12_000, 1.0, 440.0), 12_000));
    tagger.tag_each(sources, |index, result| {
        if index == 2 {
            gpu.destroy();
        }
        devices.push(result.unwrap().clips[0].device.to_string());
    });
    assert_eq!(devices.len(), SOURCES);
    assert!(devices[0] != "cpu" && devices[SOURCES - 1] == "cpu", "{devices:?}");
    assert!(
        tagger.take_warnings().iter().any(|warning| matches!(warning, TaggerWarning::CpuFallback { .. }))
    );
}
