//! Audio files to clips: formats, damage, lengths, placement, and the resampler against the original's.
//!
//! Most inputs are written by the tests. Tests that need recordings look for them in TAGWAVE_FIXTURES; without it they
//! are reported as not run, or fail if REQUIRE_FIXTURES is 1.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu"))]

mod common;

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use common::audio::{Random, WavFormat, tone, wav_f32};
use tagwave::ErrorKind;
use tagwave::audio::{
    AudioError, Clip, ClipPadding, ClipReader, ClipRequest, DecoderMode, ExternalDecoder, Placement,
    PolyphaseFilter, Resamplers, Source, Warning,
};

const RATE_HZ: u32 = 12_000;

/// The noise of tests/golden/resample/make.py.
fn noise(n: usize) -> Vec<f32> {
    let mut random = Random(1);
    (0..n).map(|_| random.noise() as f32).collect()
}

fn request(length_samples: usize, placement: Placement) -> ClipRequest {
    // Nothing here is for another program to read.
    ClipRequest {
        placement,
        external_decoder: ExternalDecoder::Disabled,
        ..ClipRequest::new(RATE_HZ, length_samples)
    }
}

/// All clips, and the warnings after the last one.
fn read(source: Source, request: &ClipRequest) -> Result<(Vec<Clip>, Vec<Warning>), AudioError> {
    let mut reader = ClipReader::open(source, request, &Resamplers::new())?;
    let clips = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((clips, reader.warnings()))
}

fn bytes(data: Vec<u8>) -> Source {
    Source::reader(Cursor::new(data))
}

/// Reads the whole track at 12 kHz.
fn resampled(x: Vec<f32>, rate_hz: u32) -> Vec<f32> {
    let length = (x.len() as f64 * (f64::from(RATE_HZ) / f64::from(rate_hz))).ceil() as usize;
    let (clips, _) = read(Source::samples(x, rate_hz), &request(length, Placement::At(0.0))).unwrap();
    assert_eq!(clips[0].audio_samples, length);
    clips[0].samples.clone()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn fixtures() -> Option<PathBuf> {
    let found = std::env::var_os("TAGWAVE_FIXTURES").map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var("REQUIRE_FIXTURES").as_deref() != Ok("1"), "TAGWAVE_FIXTURES is not set");
        println!("not run: TAGWAVE_FIXTURES is not set");
    }
    found
}

#[test]
fn the_filter_equals_the_originals_resampler() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resample/resample.npz");
    let mut golden = npyz::npz::NpzArchive::open(path).unwrap();
    let inputs = [
        (44_100, 11_025),
        (48_000, 12_001),
        (32_000, 8_000),
        (22_050, 6_001),
        (16_000, 4_003),
        (11_025, 2_755),
        (8_000, 2_001),
        (96_000, 20_011),
    ];
    for (rate_hz, n) in inputs {
        assert!(PolyphaseFilter::new(rate_hz, RATE_HZ).is_some());
        let y: Vec<f32> = golden.by_name(&format!("y_{rate_hz}")).unwrap().unwrap().into_vec().unwrap();
        let worst = worst(&resampled(noise(n), rate_hz), &y);
        println!("{rate_hz} Hz: largest difference {worst:e}");
        assert!(worst <= 1e-7, "{rate_hz} Hz: {worst:e}");
    }
}

#[test]
fn tones_keep_their_level_and_aliases_are_rejected() {
    // One rate of each kind: many phases, one phase, upwards, equal, and without a small ratio.
    for rate_hz in [44_100, 48_000, 8_000, 12_000, 44_099, 7_999] {
        let rms = |hz: f64| {
            let y = resampled(tone(2 * rate_hz as usize, rate_hz, hz), rate_hz);
            let middle = &y[6_000..18_000];
            (middle.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>() / middle.len() as f64).sqrt()
        };
        for hz in [50.0, 440.0, 1_000.0, 3_000.0, 4_000.0, 5_000.0] {
            if hz < 0.42 * f64::from(rate_hz) {
                let db = 20.0 * (rms(hz) / (0.5 / 2f64.sqrt())).log10();
                assert!(db.abs() < 0.1, "{rate_hz} Hz: a tone of {hz} Hz changes by {db} dB");
            }
        }
        for hz in [6_500.0, 7_000.0, 11_000.0, 17_500.0] {
            if rate_hz > RATE_HZ && hz < 0.5 * f64::from(rate_hz) {
                let db = 20.0 * (rms(hz) / (0.5 / 2f64.sqrt())).max(1e-12).log10();
                // The original's own filter, with its truncated step, reaches no more than -69 dB.
                let most = if rate_hz == 44_099 { -80.0 } else { -65.0 };
                assert!(db < most, "{rate_hz} Hz: a tone of {hz} Hz comes back at {db} dB");
            }
        }
    }
}

#[test]
fn uncommon_rates_are_aligned_and_named() {
    // A pulse far wider than a sample: its centre must stay at 1 s.
    let x: Vec<f32> =
        (0..88_198).map(|i| (-((i as f64 / 44_099.0 - 1.0) * 400.0).powi(2)).exp() as f32).collect();
    let (clips, warnings) = read(Source::samples(x, 44_099), &request(24_000, Placement::At(0.0))).unwrap();
    assert_eq!(warnings, [Warning::FallbackResampler { from_hz: 44_099, to_hz: 12_000 }]);
    let y = &clips[0].samples;
    let mass: f64 = y.iter().map(|&y| f64::from(y)).sum();
    let centre = y.iter().enumerate().map(|(i, &y)| i as f64 * f64::from(y)).sum::<f64>() / mass;
    assert!((centre - 12_000.0).abs() < 1.0, "centre at {centre}");
}

#[test]
fn bits_depend_neither_on_packets_nor_on_where_reading_starts() {
    for rate_hz in [44_100, 22_050, 12_000, 44_099] {
        let x = noise(5 * rate_hz as usize + 17);
        let whole = resampled(x.clone(), rate_hz);
        let file = wav_f32(rate_hz, &x);
        for (start, placement) in [
            (0, Placement::At(0.0)),
            (13_579, Placement::At(13_579.0 / 12_000.0)),
            ((whole.len() - 7_001) / 2, Placement::Centre),
        ] {
            for source in [Source::samples(x.clone(), rate_hz), bytes(file.clone())] {
                let (clips, _) = read(source, &request(7_001, placement)).unwrap();
                assert_eq!(clips[0].start_samples, start as u64);
                assert!(clips[0].samples == whole[start..start + 7_001], "{rate_hz} Hz, {placement:?}");
            }
        }
        let all = Placement::All { stride_samples: 5_003 };
        for clip in read(bytes(file), &request(7_001, all)).unwrap().0 {
            let start = clip.start_samples as usize;
            assert!(clip.samples == whole[start..start + 7_001], "{rate_hz} Hz, clip at {start}");
        }
    }
}

#[test]
fn integer_and_float_samples_mean_the_same() {
    let levels: Vec<i32> = (0..2_400).map(|i| (i * 7919) % 251 - 125).collect();
    let expected: Vec<f32> = levels.iter().map(|&v| v as f32 / 128.0).collect();
    let files = [
        WavFormat { tag: 1, channels: 1, rate_hz: RATE_HZ, bits: 8 }
            .file(&levels.iter().map(|&v| (v + 128) as u8).collect::<Vec<_>>()),
        WavFormat { tag: 1, channels: 1, rate_hz: RATE_HZ, bits: 16 }
            .file(&levels.iter().flat_map(|&v| (v as i16 * 256).to_le_bytes()).collect::<Vec<_>>()),
        WavFormat { tag: 1, channels: 1, rate_hz: RATE_HZ, bits: 24 }
            .file(&levels.iter().flat_map(|&v| [0, 0, v as i8 as u8]).collect::<Vec<_>>()),
        WavFormat { tag: 1, channels: 1, rate_hz: RATE_HZ, bits: 32 }
            .file(&levels.iter().flat_map(|&v| (v << 24).to_le_bytes()).collect::<Vec<_>>()),
        wav_f32(RATE_HZ, &expected),
    ];
    for file in files {
        for decoder in [DecoderMode::Plain, DecoderMode::Original] {
            let wanted = ClipRequest { decoder, ..request(2_400, Placement::Centre) };
            let (clips, warnings) = read(bytes(file.clone()), &wanted).unwrap();
            assert!(clips[0].samples == expected);
            assert_eq!(warnings, []);
        }
    }
    let stereo: Vec<u8> =
        levels.iter().flat_map(|&v| [(v as i16 * 256).to_le_bytes(), 0i16.to_le_bytes()]).flatten().collect();
    let (clips, _) =
        read(bytes(WavFormat::i16(2, RATE_HZ).file(&stereo)), &request(2_400, Placement::Centre)).unwrap();
    assert!(clips[0].samples.iter().zip(&expected).all(|(y, x)| *y == x / 2.0));
    // Beyond full scale: kept plainly, saturated as 16-bit integers were.
    let loud = wav_f32(RATE_HZ, &[2.0; 100]);
    let plain = request(100, Placement::Centre);
    assert_eq!(read(bytes(loud.clone()), &plain).unwrap().0[0].samples, [2.0; 100]);
    let original = ClipRequest { decoder: DecoderMode::Original, ..plain };
    assert_eq!(read(bytes(loud), &original).unwrap().0[0].samples, [32_767.0 / 32_768.0; 100]);
}

#[test]
fn short_tracks_are_padded() {
    let x = noise(2_400);
    let centre = request(6_000, Placement::Centre);
    let (clips, warnings) = read(Source::samples(x.clone(), RATE_HZ), &centre).unwrap();
    assert_eq!((clips.len(), clips[0].start_samples, clips[0].audio_samples), (1, 0, 2_400));
    assert!(clips[0].samples[..2_400] == x && clips[0].samples[2_400..].iter().all(|&y| y == 0.0));
    assert_eq!(warnings, [Warning::Padded { audio_s: 0.2, clip_s: 0.5 }]);
    assert_eq!(warnings[0].to_string(), "shorter than a clip: 0.20 of 0.50 s, padded");

    let repeat = ClipRequest { padding: ClipPadding::Repeat, ..centre };
    let (clips, _) = read(bytes(wav_f32(RATE_HZ, &x)), &repeat).unwrap();
    assert!((0..6_000).all(|i| clips[0].samples[i] == x[i % 2_400]));

    let all = request(6_000, Placement::All { stride_samples: 3_000 });
    assert_eq!(read(bytes(wav_f32(RATE_HZ, &x)), &all).unwrap().0.len(), 1);
    // 0.2 s at a rate that is resampled.
    let (clips, _) = read(bytes(wav_f32(44_100, &noise(8_820))), &centre).unwrap();
    assert_eq!(clips[0].audio_samples, 2_400);
    // One sample is a track, too.
    assert_eq!(read(bytes(wav_f32(16_000, &[0.5])), &centre).unwrap().0[0].audio_samples, 1);
}

#[test]
fn whole_tracks_are_covered() {
    let starts = |n: usize, length: usize, stride_samples: usize| -> Vec<u64> {
        let x: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
        let wanted = request(length, Placement::All { stride_samples });
        let (clips, _) = read(Source::samples(x.clone(), RATE_HZ), &wanted).unwrap();
        for clip in &clips {
            let start = clip.start_samples as usize;
            assert!(clip.samples == x[start..start + length]);
        }
        clips.iter().map(|clip| clip.start_samples).collect()
    };
    assert_eq!(starts(1_000, 1_000, 500), [0]);
    assert_eq!(starts(1_250, 1_000, 500), [0], "a tail of half a stride is left out");
    assert_eq!(starts(1_251, 1_000, 500), [0, 251], "a longer one gets a clip that ends with the track");
    assert_eq!(starts(2_000, 1_000, 500), [0, 500, 1_000]);
    assert_eq!(starts(100_000, 1_000, 60_000), [0, 60_000, 99_000]);
    assert_eq!(starts(100_000, 30_011, 30_011), [0, 30_011, 60_022]);
    assert_eq!(starts(400_000, 30_000, 997).len(), 370_000 / 997 + 1);
}

#[test]
fn a_given_start_must_lie_inside_the_track() {
    let file = || bytes(wav_f32(RATE_HZ, &noise(12_000)));
    let (clips, warnings) = read(file(), &request(6_000, Placement::At(0.75))).unwrap();
    assert_eq!((clips[0].start_samples, clips[0].audio_samples), (9_000, 3_000));
    assert_eq!(warnings.len(), 1);
    let error = read(file(), &request(6_000, Placement::At(1.5))).unwrap_err();
    assert_eq!(error.to_string(), "clip starts at 1.5 s, expected less than the track's 1.000 s");
    assert_eq!(error.kind(), ErrorKind::Input);
    for wrong in [
        request(0, Placement::Centre),
        request(10, Placement::At(-1.0)),
        request(10, Placement::At(f64::NAN)),
        request(10, Placement::At(1e300)),
        request(10, Placement::All { stride_samples: 0 }),
        ClipRequest { rate_hz: 0, ..request(10, Placement::Centre) },
    ] {
        assert!(matches!(read(file(), &wrong), Err(AudioError::Request { .. })), "{wrong:?}");
    }
}

#[test]
fn files_in_memory_are_read_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wav");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.ogg");
    std::fs::write(&path, wav_f32(44_100, &noise(100_000))).unwrap();
    for path in [path.to_str().unwrap(), demo] {
        let encoded = std::fs::read(path).unwrap();
        let all = request(6_000, Placement::All { stride_samples: 6_000 });
        let (expected, _) = read(Source::path(path), &all).unwrap();
        let (found, _) = read(Source::bytes(encoded.clone()), &all).unwrap();
        assert!(expected.len() > 3 && found == expected);
        // A file that ends early.
        let _ = read(Source::bytes(&encoded[..encoded.len() / 2]), &all);
    }
    assert!(matches!(read(Source::bytes([]), &request(10, Placement::Centre)), Err(AudioError::Empty)));
}

#[test]
fn a_wrong_stated_length_costs_a_second_pass_and_a_warning() {
    let x = noise(30_000);
    let data: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    // As written to a pipe (no size known), and with a size that was never reached.
    for stated in [u32::MAX, 1_200_000] {
        let file = WavFormat::f32(1, RATE_HZ).file_of_stated_size(&data, stated);
        let mut reader =
            ClipReader::open(bytes(file), &request(10_001, Placement::Centre), &Resamplers::new()).unwrap();
        let clip = reader.next().unwrap().unwrap();
        assert_eq!(clip.start_samples, 9_999);
        assert!(clip.samples == x[9_999..20_000]);
        assert_eq!(reader.track_seconds(), Some(2.5));
        let warnings = reader.warnings();
        let wrong = warnings.iter().any(|w| matches!(w, Warning::LengthWrong { .. }));
        assert_eq!(wrong, stated != u32::MAX, "no size is not a wrong one: {warnings:?}");
        assert!(reader.next().is_none());
    }
    // Data after a size that is too small is ignored.
    let file = WavFormat::f32(1, RATE_HZ).file_of_stated_size(&data, 48_000);
    assert_eq!(read(bytes(file), &request(20_000, Placement::Centre)).unwrap().0[0].audio_samples, 12_000);
}

#[test]
fn non_finite_samples_are_named_when_a_clip_needs_them() {
    let mut x = noise(60_000);
    x[123] = f32::NAN;
    x[50_000] = f32::NEG_INFINITY;
    let error = read(bytes(wav_f32(RATE_HZ, &x)), &request(6_000, Placement::At(0.0))).unwrap_err();
    assert_eq!(error.to_string(), "sample 123 is NaN, expected a finite number");
    let all = request(6_000, Placement::All { stride_samples: 6_000 });
    assert!(matches!(read(Source::samples(x.clone(), RATE_HZ), &all), Err(AudioError::NonFinite { .. })));
    let (clips, _) = read(bytes(wav_f32(RATE_HZ, &x)), &request(6_000, Placement::Centre)).unwrap();
    assert_eq!(clips[0].start_samples, 27_000);
    for rate_hz in [44_100, 44_099] {
        let error = read(bytes(wav_f32(rate_hz, &x)), &request(6_000, Placement::At(0.0))).unwrap_err();
        assert!(matches!(error, AudioError::NonFinite { index: 123, .. }), "{error}");
        assert!(read(bytes(wav_f32(rate_hz, &x)), &request(6_000, Placement::Centre)).is_ok());
    }
    let huge = vec![f32::MAX; 44_100];
    let error = read(Source::samples(huge, 44_100), &request(6_000, Placement::Centre)).unwrap_err();
    assert!(matches!(error, AudioError::NonFinite { .. }));
}

#[test]
fn files_without_audio_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, data: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(data).unwrap();
        Source::path(path)
    };
    let wanted = request(6_000, Placement::Centre);
    let refused = |source: Source| read(source, &wanted).unwrap_err();
    assert!(matches!(refused(Source::path(folder.path())), AudioError::NotAFile { .. }));
    assert!(matches!(refused(Source::path(folder.path().join("none.mp3"))), AudioError::Open(_)));
    assert!(matches!(refused(file("empty.mp3", b"")), AudioError::Empty));
    let text = refused(file("text.mp3", "a plain text file with the wrong name\n".repeat(50).as_bytes()));
    assert!(matches!(text, AudioError::UnknownFormat { .. }), "{text}");
    assert_eq!(text.kind(), ErrorKind::Unsupported);
    // The prober looks for a known header in the first megabyte: here inside another format.
    let riff = [b"wvpk\0\0\0\0".to_vec(), WavFormat::i16(1, 16_000).file(&[1; 4_000])].concat();
    assert!(matches!(refused(file("riff.wv", &riff)), AudioError::UnknownFormat { .. }));
    let silent = refused(file("header.wav", &WavFormat::i16(1, 16_000).file(&[])));
    assert!(matches!(silent, AudioError::NothingDecoded { .. }), "{silent}");
    assert!(matches!(refused(Source::samples(vec![], RATE_HZ)), AudioError::Empty));
    for rate_hz in [0, 999, 768_001, u32::MAX] {
        assert!(matches!(refused(Source::samples(vec![0.0; 9], rate_hz)), AudioError::Rate { .. }));
    }
    for (rate_hz, channels) in [(0, 1), (800_000, 1), (16_000, 0), (16_000, 65_535)] {
        let mut data = WavFormat::i16(1, 16_000).file(&[1; 4_000]);
        data[22..24].copy_from_slice(&u16::to_le_bytes(channels));
        data[24..28].copy_from_slice(&u32::to_le_bytes(rate_hz));
        let error = refused(bytes(data));
        assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Unsupported), "{error}");
    }
}

#[test]
fn silence_is_audio() {
    let (clips, warnings) =
        read(bytes(wav_f32(44_100, &vec![0.0; 88_200])), &request(12_000, Placement::Centre)).unwrap();
    assert!(clips[0].samples.iter().all(|&y| y == 0.0));
    assert_eq!(warnings, [Warning::Silent]);
}

#[test]
fn damaged_bytes_never_panic() {
    let file = wav_f32(44_100, &noise(3_000));
    let mut random = Random(7);
    let mut random = |below: usize| (random.bits() >> 8) as usize % below;
    for _case in 0..300 {
        let mut data = file.clone();
        for _change in 0..4 {
            let at = random(60);
            data[at] = random(256) as u8;
        }
        data.truncate(1 + random(data.len()));
        match read(bytes(data), &request(3_000, Placement::Centre)) {
            Ok((clips, _)) => assert!(clips.iter().all(|c| c.samples.iter().all(|y| y.is_finite()))),
            Err(error) => assert!(!matches!(error, AudioError::Crashed { .. }), "{error}"),
        }
    }
}

#[test]
fn the_originals_mp3_decoder_is_followed() {
    let Some(folder) = fixtures() else { return };
    // Samples in the MP3 streams as decoded without any trimming.
    let lengths =
        [("actionable", 1_400_832), ("cute", 1_378_944), ("dubstep", 1_374_336), ("thejazzpiano", 1_413_504)];
    for (name, frames) in lengths {
        let path = folder.join(format!("audio/bensound-{name}.mp3"));
        let open = |decoder, placement, length| {
            let wanted = ClipRequest { decoder, ..request(length, placement) };
            ClipReader::open(Source::path(&path), &wanted, &Resamplers::new()).unwrap()
        };
        let mut reader = open(DecoderMode::Original, Placement::Centre, 349_440);
        let clip = reader.next().unwrap().unwrap();
        assert_eq!(reader.track_seconds(), Some(f64::from(frames) / 44_100.0));
        let total = (f64::from(frames) * (12_000.0 / 44_100.0)).ceil() as u64;
        assert_eq!(clip.start_samples, (total - 349_440) / 2);
        assert_eq!(reader.warnings(), []);

        // The same decoder's stream, shifted: in the resampled domain 529 samples are 143.9 later.
        let plain = open(DecoderMode::Plain, Placement::All { stride_samples: 349_440 }, 349_440).next();
        assert_eq!(plain.unwrap().unwrap().audio_samples, 349_440);

        // Read to its end, the counted length is the decoded one, and the last samples are the zeros.
        let tail = total as f64 / 12_000.0 - 0.5;
        let mut reader = open(DecoderMode::Original, Placement::At(tail), 12_000);
        let clip = reader.next().unwrap().unwrap();
        assert_eq!(reader.track_seconds(), Some(f64::from(frames) / 44_100.0));
        assert!(clip.audio_samples.abs_diff(6_000) <= 1);
        assert!(clip.samples[clip.audio_samples - 60..].iter().all(|&y| y == 0.0));
    }
}
