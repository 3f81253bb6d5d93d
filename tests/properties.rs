//! Properties that hold for all inputs, tried on generated ones.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "small"))]

mod common;

use std::f64::consts::TAU;
use std::io::Cursor;
use std::path::PathBuf;

use common::audio::wav_i16;
use proptest::prelude::*;
use tagwave::ErrorKind;
use tagwave::audio::{Clip, ClipReader, ClipRequest, Placement, Resamplers, SeekMode, Source};
use tagwave::cpu;
use tagwave::executor::blocking::Run;
use tagwave::kernels::{Activation, Conv2d, Dense, Gru, Op};
use tagwave::plan::Builder;
use tagwave::reference;
use tagwave::sinks::{
    CSV, Failure, JSON_LINES, JournalKey, JournaledFile, Prediction, Row, Sink, Values, journal_file,
};
use tagwave::tags::Tag;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::fill;

/// Rate of most models in Hz.
const RATE_HZ: u32 = 12_000;
/// Rates with a filter bank to that rate.
const RATES_HZ: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000];

fn clips(source: Source, request: &ClipRequest) -> Vec<Clip> {
    ClipReader::open(source, request, &Resamplers::new()).unwrap().map(Result::unwrap).collect()
}

fn one(samples: Vec<f32>, rate_hz: u32, length: usize) -> Vec<f32> {
    let request = ClipRequest { placement: Placement::Centre, ..ClipRequest::new(RATE_HZ, length) };
    clips(Source::samples(samples, rate_hz), &request).remove(0).samples
}

fn tone(f_hz: f64, rate_hz: u32, seconds: f64) -> Vec<f32> {
    let length = (f64::from(rate_hz) * seconds) as usize;
    (0..length).map(|i| (0.5 * (TAU * f_hz * i as f64 / f64::from(rate_hz)).sin()) as f32).collect()
}

/// Amplitude of the part of `samples` that has this frequency, under a Hann window.
fn amplitude(samples: &[f32], f_hz: f64) -> f64 {
    let length = samples.len() as f64;
    let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
    for (i, &x) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * i as f64 / length).cos();
        let phase = TAU * f_hz * i as f64 / f64::from(RATE_HZ);
        re += window * f64::from(x) * phase.cos();
        im += window * f64::from(x) * phase.sin();
        weight += window;
    }
    2.0 * re.hypot(im) / weight
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

/// Start and audio samples of each clip of a track of `total` samples, as documented at [`Placement`].
fn sliced(total: usize, length: usize, placement: Placement) -> Vec<(usize, usize)> {
    match placement {
        Placement::Centre => {
            let start = total.saturating_sub(length) / 2;
            vec![(start, length.min(total - start))]
        }
        Placement::At(seconds) => {
            let start = (seconds * f64::from(RATE_HZ)).round() as usize;
            vec![(start, length.min(total - start))]
        }
        Placement::All { stride_samples } => {
            if total < length {
                return vec![(0, total)];
            }
            let mut clips: Vec<_> = (0..)
                .map(|i| i * stride_samples)
                .take_while(|start| start + length <= total)
                .map(|s| (s, length))
                .collect();
            let covered = clips.last().map_or(0, |(start, _)| start + length);
            if total - covered > stride_samples / 2 {
                clips.push((total - length, length));
            }
            clips
        }
        other => panic!("no rule for {other:?}"),
    }
}

fn close(found: &HostTensor, expected: &HostTensor) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.shape(), expected.shape());
    for (i, (a, b)) in found.data().iter().zip(expected.data()).enumerate() {
        prop_assert!((a - b).abs() <= 5e-5 + 5e-5 * b.abs(), "element {}: {} for {}", i, a, b);
    }
    Ok(())
}

fn agrees(op: Op, x: HostTensor, weights: Vec<HostTensor>) -> Result<(), TestCaseError> {
    let mut builder = Builder::new();
    let input = builder.input("x", x.shape());
    let y = builder.step("y", op, &[input], weights).unwrap();
    builder.output("y", y);
    let plan = builder.finish();
    let expected = reference::run(&plan, std::slice::from_ref(&x)).unwrap().remove(0);
    for convolution in [cpu::Convolution::Direct, cpu::Convolution::Winograd] {
        let options = cpu::Options { threads: Some(1), convolution: Some(convolution), ..Default::default() };
        let found =
            cpu::Executor::new(&plan, &options).unwrap().run(std::slice::from_ref(&x)).unwrap().remove(0);
        close(&found, &expected)?;
    }
    Ok(())
}

/// [`paint`], small enough for sums of hundreds.
fn weights<const AXES: usize>(shape: [usize; AXES], seed: usize) -> HostTensor
where
    tagwave::tensor::Shape: From<[usize; AXES]>,
{
    let mut tensor = fill(shape, seed);
    tensor.data_mut().iter_mut().for_each(|x| *x *= 0.3);
    tensor
}

fn row(name: String, score: Option<f32>) -> Row {
    let key = Some(JournalKey::new("settings", name.as_ref(), 1, 2));
    let outcome = match score {
        None => Err(Failure { kind: ErrorKind::Input, message: format!("no \"music\"\nin {name}") }),
        Some(score) => Ok(Prediction {
            model: "small".into(),
            compat: "corrected",
            device: "cpu".into(),
            decoder: "symphonia".into(),
            clip_start_s: 1.5,
            track_s: Some(30.0),
            clip_count: 1,
            values: Values::Tags(vec![Tag { label: name.clone(), score }]),
            clips: Vec::new(),
            warnings: vec![name.clone()],
        }),
    };
    Row { path: PathBuf::from(name), key, outcome }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tones_keep_frequency_and_level(rate in 0..RATES_HZ.len(), part in 0.02..0.88f64) {
        let rate_hz = RATES_HZ[rate];
        let f_hz = part * f64::from(rate_hz.min(RATE_HZ)) / 2.0;
        let samples = one(tone(f_hz, rate_hz, 1.5), rate_hz, RATE_HZ as usize);
        let found = amplitude(&samples, f_hz);
        prop_assert!((found / 0.5 - 1.0).abs() < 0.01, "{} Hz at {} Hz: amplitude {}", f_hz, rate_hz, found);
        // All of the power is in the tone.
        prop_assert!((rms(&samples) / (found / 2f64.sqrt()) - 1.0).abs() < 0.005);
    }

    /// The step through the original's table is truncated: at 22.05 and 44.1 kHz its halves do not cancel aliases as well
    /// as the filter could, and ours are the original's.
    #[test]
    fn aliases_are_below_those_of_the_originals_filter(rate in 2..RATES_HZ.len(), part in 0.0..1.0f64) {
        let rate_hz = RATES_HZ[rate];
        let limit_db = match rate_hz {
            22_050 => -60.0,
            44_100 => -66.0,
            _ => -120.0,
        };
        let (least, most) = (1.04 * f64::from(RATE_HZ) / 2.0, 0.98 * f64::from(rate_hz) / 2.0);
        let samples = one(tone(least + part * (most - least), rate_hz, 1.5), rate_hz, RATE_HZ as usize);
        let level_db = 20.0 * (rms(&samples) / (0.5 / 2f64.sqrt())).log10();
        prop_assert!(level_db < limit_db, "{} dB from {} Hz", level_db, rate_hz);
    }

    /// Packets of a file, blocks of samples in memory, and the steps in which clips ask for outputs.
    #[test]
    fn any_chunking_gives_the_same_bits(
        rate in 0..RATES_HZ.len(),
        samples in proptest::collection::vec(any::<i16>(), 3_000..40_000),
        stride in 100..3_000usize,
    ) {
        let rate_hz = RATES_HZ[rate];
        let floats: Vec<f32> = samples.iter().map(|&x| f32::from(x) / 32_768.0).collect();
        let request = |stride_samples, seek_mode| ClipRequest {
            placement: Placement::All { stride_samples },
            seek_mode,
            ..ClipRequest::new(RATE_HZ, 500)
        };
        let whole = |source, stride| {
            let mut joined: Vec<f32> = Vec::new();
            for clip in clips(source, &request(stride, SeekMode::DecodeAll)) {
                let start = clip.start_samples as usize;
                joined.resize(joined.len().max(start + clip.audio_samples), f32::NAN);
                joined[start..start + clip.audio_samples].copy_from_slice(&clip.samples[..clip.audio_samples]);
            }
            joined
        };
        let expected = whole(Source::samples(floats, rate_hz), 500);
        let file = whole(Source::reader(Cursor::new(wav_i16(1, rate_hz, &samples))), stride);
        for (i, (a, b)) in file.iter().zip(&expected).enumerate() {
            prop_assert!(a.is_nan() || b.is_nan() || a.to_bits() == b.to_bits(), "sample {}: {} and {}", i, a, b);
        }
    }

    #[test]
    fn clips_are_those_of_a_naive_slicer(
        total in 1..30_000usize,
        length in 1..9_000usize,
        stride in 1..12_000usize,
        start in 0.0..1.0f64,
    ) {
        // Few clips suffice.
        let stride = stride.max(total / 200);
        let samples: Vec<f32> = (0..total).map(|i| ((i * 7919 % 65_521) as f32 / 65_521.0) - 0.5).collect();
        let at = (start * (total - 1) as f64 / f64::from(RATE_HZ)).min((total - 1) as f64 / f64::from(RATE_HZ));
        for placement in [Placement::Centre, Placement::At(at), Placement::All { stride_samples: stride }] {
            let request = ClipRequest { placement, ..ClipRequest::new(RATE_HZ, length) };
            let found = clips(Source::samples(samples.clone(), RATE_HZ), &request);
            let expected = sliced(total, length, placement);
            let places: Vec<_> = found.iter().map(|clip| (clip.start_samples as usize, clip.audio_samples)).collect();
            prop_assert_eq!(&places, &expected, "{:?} of {} in {}", placement, length, total);
            for (clip, (start, audio)) in found.iter().zip(expected) {
                prop_assert_eq!(&clip.samples[..audio], &samples[start..start + audio]);
                prop_assert!(clip.samples[audio..].iter().all(|&x| x == 0.0));
            }
        }
    }

    #[test]
    fn convolutions_of_any_shape_agree_with_the_reference(
        (n, c, o) in (1..3usize, 1..9usize, 1..19usize),
        (f, t) in (1..15usize, 1..23usize),
        (pool_f, pool_t) in (1..5usize, 1..5usize),
        elu in any::<bool>(),
    ) {
        let pool = [pool_f.min(f), pool_t.min(t)];
        let activation = if elu { Activation::Elu } else { Activation::Identity };
        let weights = vec![weights([o, c, 3, 3], 1), fill([o], 2)];
        agrees(Op::Conv2d(Conv2d { pool, activation }), fill([n, c, f, t], 3), weights)?;
    }

    #[test]
    fn dense_layers_of_any_shape_agree_with_the_reference(n in 1..20usize, d in 1..90usize, o in 1..70usize) {
        let activation = Activation::Sigmoid;
        agrees(Op::Dense(Dense { activation }), fill([n, d], 9), vec![weights([d, o], 7), fill([o], 8)])?;
    }

    #[test]
    fn recurrent_layers_of_any_shape_agree_with_the_reference(n in 1..4usize, t in 1..9usize, units in 1..40usize) {
        for reset_after in [false, true] {
            let weights = vec![weights([units, 3 * units], 10), fill([units], 12)];
            agrees(Op::Gru(Gru { reset_after }), fill([n, t, 3 * units], 11), weights)?;
        }
    }

    /// Whatever prefix of rows and journal reached the disk, resuming ends with the rows of an undisturbed run.
    #[test]
    fn journals_are_resumed_from_any_prefix(
        names in proptest::collection::hash_set("[a-z\"\\\\é🎸,\t]{1,12}", 1..12),
        (rows_part, journal_part) in (0.0..1.0f64, 0.0..1.0f64),
        csv in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let format = if csv { CSV } else { JSON_LINES };
        let row = |name: &String| row(name.clone(), name.len().is_multiple_of(2).then_some(0.25));
        let mut sink = JournaledFile::create(format, &path).unwrap();
        names.iter().for_each(|name| sink.row(&row(name)).unwrap());
        drop(sink);
        let expected = std::fs::read(&path).unwrap();
        let journal = std::fs::read(journal_file(&path)).unwrap();
        let head = journal.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let keep = |bytes: &[u8], least: usize, part: f64| {
            bytes[..least + ((bytes.len() - least) as f64 * part) as usize].to_vec()
        };
        std::fs::write(&path, keep(&expected, 0, rows_part)).unwrap();
        std::fs::write(journal_file(&path), keep(&journal, head, journal_part)).unwrap();
        let (mut sink, mut done) = JournaledFile::resume(format, &path).unwrap();
        for row in names.iter().map(row) {
            if !done.take(&row.key.unwrap()) {
                sink.row(&row).unwrap();
            }
        }
        drop(sink);
        prop_assert!(std::fs::read(&path).unwrap() == expected);
    }

    #[test]
    fn rows_of_json_are_read_back(name in "\\PC{1,40}|[\u{0}-\u{1f}\"\\\\]{1,9}", score in proptest::option::of(0.0..1.0f32)) {
        let mut bytes = Vec::new();
        let mut sink = JSON_LINES.sink(&mut bytes);
        sink.row(&row(name.clone(), score)).unwrap();
        sink.finish().unwrap();
        drop(sink);
        prop_assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(read["path"].as_str(), Some(&*name));
        match score {
            Some(score) => {
                prop_assert_eq!(read["tags"][0]["tag"].as_str(), Some(&*name));
                prop_assert!((read["tags"][0]["score"].as_f64().unwrap() - f64::from(score)).abs() <= 5e-7);
                prop_assert_eq!(read["warnings"][0].as_str(), Some(&*name));
            }
            None => prop_assert_eq!(read["error"]["kind"].as_str(), Some("input")),
        }
    }
}
