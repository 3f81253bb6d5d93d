//! Seeking gives the same samples as decoding from the start.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu"))]

mod common;

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::audio::{Random, wav_i16};
use tagwave::audio::{Clip, ClipReader, ClipRequest, DecoderMode, Placement, Resamplers, SeekMode, Source};

const RATE_HZ: u32 = 44_100;
const SECONDS: u32 = 24;

/// Test signal: a moving chord and noise, different on both channels.
fn stereo() -> Vec<i16> {
    let mut random = Random(1);
    let mut noise = || random.noise();
    let sample = |i: u32, shift: f64| {
        let t = f64::from(i) / f64::from(RATE_HZ);
        let sweep = (t * (300.0 + 40.0 * t + shift) * TAU).sin() * (0.6 + 0.4 * (t * 5.0).sin());
        sweep + 0.5 * (t * (1_200.0 - 11.0 * t) * TAU).sin()
    };
    (0..RATE_HZ * SECONDS)
        .flat_map(|i| [sample(i, 0.0) + 0.3 * noise(), sample(i, 77.0) + 0.3 * noise()])
        .map(|x| (x * 9_000.0) as i16)
        .collect()
}

/// Encodes with `ffmpeg`; `false` if it or the encoder is missing.
fn encode(from: &Path, arguments: &str, to: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(from).args(arguments.split(' ')).arg(to);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn read(path: &Path, request: &ClipRequest) -> Clip {
    read_passing(path, request).0
}

/// Reads a clip, and returns the skipped seconds before it.
fn read_passing(path: &Path, request: &ClipRequest) -> (Clip, f64) {
    let mut reader = ClipReader::open(Source::path(path), request, &Resamplers::new()).unwrap();
    let clip = reader.next().unwrap().unwrap();
    assert_eq!(reader.warnings(), [], "{}", path.display());
    (clip, reader.skipped_samples() as f64 / f64::from(reader.track_rate_hz()))
}

/// Largest difference between the seek modes over several positions, at the file's own rate and at 12 kHz.
fn worst(path: &Path, passes: bool) -> f32 {
    let mut worst = 0.0f32;
    for decoder in [DecoderMode::Plain, DecoderMode::Original] {
        for (rate_hz, placement) in [
            (12_000, Placement::Centre),
            (RATE_HZ, Placement::Centre),
            (RATE_HZ, Placement::At(7.0)),
            (RATE_HZ, Placement::At(f64::from(SECONDS) - 2.5)),
        ] {
            let request =
                ClipRequest { placement, decoder, ..ClipRequest::new(rate_hz, 2 * rate_hz as usize) };
            let (through, none) =
                read_passing(path, &ClipRequest { seek_mode: SeekMode::DecodeAll, ..request });
            let (sought, passed_s) = read_passing(path, &request);
            let before_s = sought.start_samples as f64 / f64::from(rate_hz);
            let range = if passes { before_s - 1.5..=before_s } else { 0.0..=0.0 };
            assert!(
                none == 0.0 && range.contains(&passed_s),
                "{}: {passed_s} of {before_s} s",
                path.display()
            );
            assert_eq!(sought.start_samples, through.start_samples, "{}", path.display());
            assert_eq!(sought.audio_samples, through.audio_samples, "{}", path.display());
            let differences = sought.samples.iter().zip(&through.samples).map(|(a, b)| (a - b).abs());
            worst = differences.fold(worst, f32::max);
        }
    }
    worst
}

/// Formats by extension, arguments of `ffmpeg`, and whether seeking is supported.
const FORMATS: &[(&str, &str, bool)] = &[
    ("wav", "-c:a pcm_s16le", true),
    ("f32.wav", "-c:a pcm_f32le", true),
    ("alaw.wav", "-c:a pcm_alaw", true),
    ("ima.wav", "-c:a adpcm_ima_wav", false),
    ("ms.wav", "-c:a adpcm_ms", false),
    ("aiff", "-c:a pcm_s16be", true),
    ("caf", "-c:a pcm_s16be", true),
    ("flac", "-c:a flac", true),
    ("flac.ogg", "-c:a flac", true),
    ("alac.m4a", "-c:a alac", true),
    ("cbr.mp3", "-c:a libmp3lame -b:a 128k", true),
    ("low.mp3", "-c:a libmp3lame -b:a 32k", true),
    ("vbr.mp3", "-c:a libmp3lame -q:a 4", true),
    ("mono.mp3", "-c:a libmp3lame -b:a 96k -ac 1", true),
    ("bare.mp3", "-c:a libmp3lame -b:a 192k -write_xing 0 -id3v2_version 0", true),
    ("22k.mp3", "-c:a libmp3lame -b:a 24k -ar 22050", true),
    ("mp2", "-c:a mp2 -b:a 192k", true),
    ("ogg", "-c:a libvorbis -q:a 5", true),
    ("m4a", "-c:a aac -b:a 128k -aac_pns 0", true),
    ("aac", "-c:a aac -b:a 128k -aac_pns 0 -f adts", true),
    ("mkv", "-c:a flac", false),
    ("webm", "-c:a libvorbis", false),
];

#[test]
fn seeking_gives_the_samples_of_decoding_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(at("source.wav"), wav_i16(2, RATE_HZ, &stereo())).unwrap();
    assert_eq!(worst(&at("source.wav"), true), 0.0, "wav");
    for (ending, arguments, passes) in FORMATS {
        let path = at(&format!("a.{ending}"));
        if !encode(&at("source.wav"), arguments, &path) {
            println!("{ending}: not run: no ffmpeg that makes it");
            continue;
        }
        let worst = worst(&path, *passes);
        println!("{ending}: largest difference {worst:e}");
        assert_eq!(worst, 0.0, "{ending}");
    }
}

/// AAC noise substitution (PNS) draws random numbers, which differ between seeking and decoding: the rest of
/// the samples, and the position, are the same.
#[test]
fn noise_of_the_decoders_own_is_all_that_may_differ() {
    let folder = tempfile::tempdir().unwrap();
    let (source, path) = (folder.path().join("source.wav"), folder.path().join("a.m4a"));
    std::fs::write(&source, wav_i16(2, RATE_HZ, &stereo())).unwrap();
    if !encode(&source, "-c:a aac -b:a 96k", &path) {
        return println!("not run: no ffmpeg that makes AAC");
    }
    let request = ClipRequest::new(12_000, 24_000);
    let (sought, through) =
        (read(&path, &request), read(&path, &ClipRequest { seek_mode: SeekMode::DecodeAll, ..request }));
    let power = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let signal = power(&mut through.samples.iter().copied());
    let noise = power(&mut sought.samples.iter().zip(&through.samples).map(|(a, b)| a - b));
    println!("difference {:.1} dB below the music", 10.0 * (signal / noise.max(1e-30)).log10());
    assert!(noise < 1e-2 * signal);
}

/// A file joined from two has a gap in its times but not in its samples; positions count samples.
#[test]
fn gaps_in_time_are_no_gaps_in_samples() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(at("source.wav"), wav_i16(2, RATE_HZ, &stereo())).unwrap();
    for ending in ["ogg", "m4a"] {
        let path = at(&format!("gap.{ending}"));
        let codec = if ending == "ogg" { "libvorbis" } else { "aac -aac_pns 0" };
        let arguments = format!("-af asetpts=if(gt(T\\,3)\\,PTS+30000\\,PTS) -c:a {codec}");
        if !encode(&at("source.wav"), &arguments, &path) {
            println!("{ending}: not run: no ffmpeg that makes it");
            continue;
        }
        let request = ClipRequest { placement: Placement::At(9.0), ..ClipRequest::new(RATE_HZ, 88_200) };
        let through = read(&path, &ClipRequest { seek_mode: SeekMode::DecodeAll, ..request });
        assert!(read(&path, &request).samples == through.samples, "{ending}");
    }
}
