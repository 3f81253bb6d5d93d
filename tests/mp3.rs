//! MP3 decoded as it is heard at the models' rate, beside full decoding.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu"))]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::audio::{Random, wav_i16};
use proptest::prelude::*;
use tagwave::audio::{
    Clip, ClipReader, ClipRequest, DecoderMode, ExternalDecoder, Placement, Resamplers, Source, Warning,
};

const RATE_HZ: u32 = 12_000;

/// A clip, the decoder that made it, and warnings; or the error.
type Found = Result<(Vec<Clip>, &'static str, Vec<Warning>), String>;

fn read(path: &Path, decoder: DecoderMode, placement: Placement) -> Found {
    let request = ClipRequest {
        placement,
        decoder,
        external_decoder: ExternalDecoder::Disabled,
        ..ClipRequest::new(RATE_HZ, 6 * RATE_HZ as usize)
    };
    let open = ClipReader::open(Source::path(path), &request, &Resamplers::new());
    let mut reader = open.map_err(|error| error.to_string())?;
    let clips = reader.by_ref().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok((clips, reader.decoder_name(), reader.warnings()))
}

/// Level of the difference in dB relative to full decoding, both resampled.
fn difference_db(heard: &Clip, full: &Clip) -> f64 {
    assert_eq!((heard.start_samples, heard.audio_samples), (full.start_samples, full.audio_samples));
    let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = power(&mut heard.samples.iter().zip(&full.samples).map(|(a, b)| a - b));
    10.0 * (difference / power(&mut full.samples.iter().copied())).log10()
}

/// Noise, clicks and tones, different on both channels and partly in opposite phase.
fn stereo(rate_hz: u32, seconds: u32) -> Vec<i16> {
    let mut random = Random(7);
    let mut noise = || random.noise();
    (0..rate_hz * seconds)
        .flat_map(|i| {
            let t = f64::from(i) / f64::from(rate_hz);
            let sweep = (t * t * 900.0 * std::f64::consts::TAU).sin();
            let click = if i % (rate_hz / 3) < 12 { 0.8 } else { 0.0 };
            let (a, b, c) = (0.2 * noise(), 0.1 * noise(), (t * 440.0 * std::f64::consts::TAU).sin());
            [0.3 * sweep + a + click, -0.2 * sweep + b + 0.2 * c + 0.5 * click]
        })
        .map(|x: f64| (x.clamp(-1.0, 1.0) * 30_000.0) as i16)
        .collect()
}

fn encode(from: &Path, arguments: &str, to: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(from).args(arguments.split(' ')).arg(to);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Encoding of the test signal; `None`, with a message, without `ffmpeg`.
fn encoded(folder: &Path, arguments: &str) -> Option<PathBuf> {
    let (from, to) = (folder.join("source.wav"), folder.join("a.mp3"));
    if !from.exists() {
        std::fs::write(&from, wav_i16(2, 44_100, &stereo(44_100, 15))).unwrap();
    }
    if encode(&from, arguments, &to) {
        return Some(to);
    }
    println!("not run: no ffmpeg with an MP3 encoder ({arguments})");
    None
}

#[test]
fn what_is_heard_is_that_of_full_decoding() {
    let folder = tempfile::tempdir().unwrap();
    for rate_hz in [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000] {
        for arguments in ["-b:a 64k", "-q:a 2", "-b:a 96k -joint_stereo 0", "-b:a 32k -ac 1"] {
            let arguments = format!("-c:a libmp3lame -ar {rate_hz} {arguments}");
            let Some(path) = encoded(folder.path(), &arguments) else { continue };
            let all = Placement::All { stride_samples: 3 * RATE_HZ as usize };
            for placement in [Placement::Centre, Placement::At(8.123), all] {
                let heard = read(&path, DecoderMode::Plain, placement).unwrap();
                let full = read(&path, DecoderMode::FullBand, placement).unwrap();
                assert_eq!((heard.1, full.1), ("tagwave", "tagwave-full"), "{arguments}");
                assert_eq!(heard.2, full.2, "{arguments}");
                assert_eq!(heard.0.len(), full.0.len());
                let count = heard.0.len();
                for (i, (heard, full)) in heard.0.iter().zip(&full.0).enumerate() {
                    // The signal begins and ends at full level: a click in every second sample differs from one in all.
                    let has_edge = count > 1 && (i == 0 || i == count - 1);
                    let (level, limit) = (difference_db(heard, full), if has_edge { -40.0 } else { -80.0 });
                    assert!(level < limit, "{arguments}, {placement:?}, clip {i}: {level:.1} dB");
                }
            }
        }
    }
}

/// A clip that reaches an end of the track is that of full decoding.
#[test]
fn ends_of_tracks_are_decoded_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = encoded(folder.path(), "-c:a libmp3lame -b:a 128k") else { return };
    for placement in [Placement::At(0.0), Placement::At(10.0)] {
        let heard = read(&path, DecoderMode::Plain, placement).unwrap();
        assert_eq!(heard, read(&path, DecoderMode::FullBand, placement).unwrap());
    }
}

#[test]
fn cancellation_is_told_without_the_side_channel() {
    let folder = tempfile::tempdir().unwrap();
    let mono = stereo(44_100, 15).into_iter().step_by(2);
    let samples: Vec<i16> = mono.flat_map(|x| [x, -(x / 10 * 9)]).collect();
    std::fs::write(folder.path().join("source.wav"), wav_i16(2, 44_100, &samples)).unwrap();
    let Some(path) = encoded(folder.path(), "-c:a libmp3lame -b:a 128k") else { return };
    for decoder in [DecoderMode::Plain, DecoderMode::FullBand] {
        let (_, name, warnings) = read(&path, decoder, Placement::Centre).unwrap();
        let loss = warnings.iter().find_map(|warning| match warning {
            Warning::Cancellation { loss_db } => Some(*loss_db),
            _ => None,
        });
        assert!(loss.is_some_and(|loss| (loss - 25.6).abs() < 2.0), "{name}: {warnings:?}");
    }
}

/// Damaged files are read as by the full decoder where the other one refuses a frame, and never worse.
#[test]
fn damaged_files_are_read_as_by_the_full_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = encoded(folder.path(), "-c:a libmp3lame -b:a 96k") else { return };
    let bytes = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.mp3");
    let hit = (0..bytes.len(), any::<u8>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner
        .run(&(prop::collection::vec(hit, 1..20), 0..bytes.len() / 4), |(hits, cut)| {
            let mut bytes = bytes.clone();
            hits.iter().for_each(|&(place, byte)| bytes[place] = byte);
            std::fs::write(&damaged, &bytes[cut..]).unwrap();
            for placement in [Placement::Centre, Placement::All { stride_samples: 30_000 }] {
                let heard = read(&damaged, DecoderMode::Plain, placement);
                let full = read(&damaged, DecoderMode::FullBand, placement);
                match (heard, full) {
                    (Ok(heard), Ok(full)) => {
                        let lengths = |found: &[Clip]| -> Vec<_> {
                            found.iter().map(|clip| (clip.start_samples, clip.audio_samples)).collect()
                        };
                        prop_assert!(heard.0.iter().all(|clip| clip.samples.iter().all(|x| x.is_finite())));
                        if heard.1 == full.1 && placement == Placement::Centre {
                            prop_assert_eq!(heard, full);
                        } else if full.2.is_empty() {
                            prop_assert_eq!(lengths(&heard.0), lengths(&full.0));
                        }
                    }
                    (Err(_), Err(_)) => {}
                    (heard, full) => prop_assert!(heard.is_ok(), "{:?} but {:?}", heard, full.is_ok()),
                }
            }
            Ok(())
        })
        .unwrap();
}
