//! Damaged, truncated, concatenated and unusual files: each is decoded like by other software, or reported.
//!
//! Most inputs are made by `ffmpeg`; without it, tests that need it are reported as not run.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu"))]

mod common;

use std::f64::consts::TAU;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::audio::wav_i16;
use tagwave::audio::{
    Clip, ClipReader, ClipRequest, ExternalDecoder, Placement, Resamplers, SeekMode, Source, Warning,
};

const RATE_HZ: u32 = 44_100;

/// Test signal: a rising chord, different on both channels.
/// 16-bit stereo WAV file.
fn wav(samples: &[[f32; 2]]) -> Vec<u8> {
    let samples: Vec<i16> = samples.iter().flatten().map(|x| (x * 32_767.0) as i16).collect();
    wav_i16(2, RATE_HZ, &samples)
}

fn music(seconds: u32) -> Vec<[f32; 2]> {
    let sample = |i: u32, shift: f64| {
        let t = f64::from(i) / f64::from(RATE_HZ);
        (0.3 * (t * (300.0 + 40.0 * t + shift) * TAU).sin() + 0.1 * (t * 1_100.0 * TAU).sin()) as f32
    };
    (0..RATE_HZ * seconds).map(|i| [sample(i, 0.0), sample(i, 50.0)]).collect()
}

/// Result of reading a source: clip, warnings, length in seconds, decoder.
struct Prediction {
    clip: Clip,
    warnings: Vec<Warning>,
    seconds: f64,
    decoder: &'static str,
}

fn request() -> ClipRequest {
    ClipRequest::new(12_000, 24_000)
}

fn read(source: Source, request: &ClipRequest) -> Prediction {
    let mut reader = ClipReader::open(source, request, &Resamplers::new()).unwrap();
    let clip = reader.next().unwrap().unwrap();
    Prediction {
        clip,
        warnings: reader.warnings(),
        seconds: reader.track_seconds().unwrap(),
        decoder: reader.decoder_name(),
    }
}

/// Reads a file with both seek modes, which must agree, and from a pipe.
fn read_file(path: &Path) -> Prediction {
    let found = read(Source::path(path), &request());
    let through = read(Source::path(path), &ClipRequest { seek_mode: SeekMode::DecodeAll, ..request() });
    let piped = read(Source::reader(Cursor::new(fs::read(path).unwrap())), &request());
    for other in [&through, &piped] {
        assert_eq!(found.clip.start_samples, other.clip.start_samples, "{}", path.display());
        assert!(
            worst(&found.clip, &other.clip) < 1e-6,
            "{}: {}",
            path.display(),
            worst(&found.clip, &other.clip)
        );
    }
    found
}

fn worst(a: &Clip, b: &Clip) -> f32 {
    assert_eq!(a.samples.len(), b.samples.len());
    a.samples.iter().zip(&b.samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Makes a folder with `source.wav` of this many seconds.
fn folder(seconds: u32) -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    fs::write(root.join("source.wav"), wav(&music(seconds))).unwrap();
    (folder, move |name: &str| root.join(name))
}

/// Runs `ffmpeg` on a file; prints a message and returns `false` if it is missing or fails.
fn ffmpeg(from: &Path, arguments: &str, to: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-y", "-i"])
        .arg(from)
        .args(arguments.split_whitespace())
        .arg(to);
    let made = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !made {
        println!("not run: no ffmpeg that makes {}", to.display());
    }
    made
}

fn tells_of_damage(warnings: &[Warning]) -> bool {
    warnings.iter().any(|warning| {
        matches!(
            warning,
            Warning::DamagedPackets { .. }
                | Warning::Truncated { .. }
                | Warning::LengthWrong { .. }
                | Warning::Damaged { .. }
                | Warning::External { .. }
        )
    })
}

#[test]
fn a_file_that_ends_early_is_read_up_to_there() {
    let (_folder, at) = folder(20);
    for (name, arguments) in
        [("a.wav", "-c:a pcm_s16le"), ("a.flac", "-c:a flac"), ("ima.wav", "-c:a adpcm_ima_wav")]
    {
        if !ffmpeg(&at("source.wav"), arguments, &at(name)) {
            continue;
        }
        let whole = fs::read(at(name)).unwrap();
        for part in [0.03, 0.2, 0.4] {
            let path = at(&format!("cut_{name}"));
            fs::write(&path, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
            let found = read_file(&path);
            let expected_s = 20.0 * part;
            assert!((found.seconds - expected_s).abs() < 0.6, "{name}: {} of {expected_s} s", found.seconds);
            assert!(tells_of_damage(&found.warnings), "{name}: {:?}", found.warnings);
            let start_s = (found.seconds - 2.0).max(0.0) / 2.0;
            assert!((found.clip.start_samples as f64 / 12_000.0 - start_s).abs() < 0.01, "{name}");
        }
    }
}

/// A file that is cut behind its clip states a length that it does not have: the clip is that of the true length all the
/// same. A file that is whole says nothing.
#[test]
fn a_file_that_is_cut_behind_its_clip_is_placed_by_its_true_length() {
    let (_folder, at) = folder(20);
    for (name, arguments) in [
        ("a.flac", "-c:a flac"),
        ("long_blocks.flac", "-c:a flac -frame_size 16384"),
        ("a.m4a", "-c:a aac -aac_pns 0 -movflags +faststart"),
        ("alac.m4a", "-c:a alac -movflags +faststart"),
        ("fragments.mp4", "-c:a aac -aac_pns 0 -movflags +frag_keyframe+empty_moov -frag_duration 1000000"),
        ("a.mka", "-c:a libvorbis"),
        ("a.caf", "-c:a pcm_s16le"),
        ("rf64.wav", "-c:a pcm_s16le -rf64 always"),
        ("a.aiff", "-c:a pcm_s16be"),
        ("a.ogg", "-c:a libvorbis"),
        ("a.mp3", "-c:a libmp3lame"),
        ("a.aac", "-c:a aac -aac_pns 0 -f adts"),
        ("a.opus", "-c:a libopus"),
        ("a.wv", "-c:a wavpack"),
    ] {
        if !ffmpeg(&at("source.wav"), arguments, &at(name)) {
            continue;
        }
        let found = read_file(&at(name));
        assert!(!tells_of_damage(&found.warnings), "{name}: {:?}", found.warnings);
        assert!((found.seconds - 20.0).abs() < 0.1, "{name}: {} s", found.seconds);
        let whole = fs::read(at(name)).unwrap();
        for part in [0.7, 0.95] {
            let path = at(&format!("cut_{name}"));
            fs::write(&path, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
            let found = read_file(&path);
            assert!((found.seconds - 20.0 * part).abs() < 1.0, "{name}, {part}: {} s", found.seconds);
            let start_s = (found.seconds - 2.0) / 2.0;
            let found_s = found.clip.start_samples as f64 / 12_000.0;
            assert!((found_s - start_s).abs() < 0.001, "{name}, {part}: {found_s} s for {start_s} s");
            // Formats that state no length have none that is wrong.
            if !["mp3", "aac", "opus"].iter().any(|ending| name.ends_with(ending)) {
                assert!(tells_of_damage(&found.warnings), "{name}, {part}: {:?}", found.warnings);
            }
        }
    }
}

#[test]
fn every_frame_counts_where_channels_and_rate_change() {
    let (_folder, at) = folder(6);
    let parts = ["-ac 2 -ar 44100", "-ac 1 -ar 44100", "-ac 2 -ar 22050", "-ac 2 -ar 48000"];
    for (ending, codec) in [
        ("mp3", "-c:a libmp3lame -b:a 128k -write_xing 0 -id3v2_version 0"),
        ("aac", "-c:a aac -aac_pns 0 -f adts"),
        ("ogg", "-c:a libvorbis"),
    ] {
        // A stray beginning of another kind, and changes in the middle.
        for order in [vec![0, 1, 0], vec![2, 0, 0], vec![0, 3, 2, 0]] {
            let mut joined = Vec::new();
            for (place, &part) in order.iter().enumerate() {
                let name = at(&format!("{place}.{ending}"));
                let arguments = format!("{codec} {} -serial_offset {place}", parts[part]);
                let arguments = if ending == "ogg" { arguments } else { format!("{codec} {}", parts[part]) };
                if !ffmpeg(&at("source.wav"), &arguments, &name) {
                    return;
                }
                joined.extend(fs::read(name).unwrap());
            }
            let path = at(&format!("joined.{ending}"));
            fs::write(&path, joined).unwrap();
            let found = read_file(&path);
            let expected_s = 6.0 * order.len() as f64;
            assert!((found.seconds - expected_s).abs() < 0.5, "{ending} {order:?}: {} s", found.seconds);
            let is_damage = |warning: &Warning| matches!(warning, Warning::DamagedPackets { .. });
            assert!(!found.warnings.iter().any(is_damage), "{ending} {order:?}: {:?}", found.warnings);
            let power = found.clip.samples.iter().map(|x| x * x).sum::<f32>() / 24_000.0;
            assert!((0.01..0.1).contains(&power), "{ending} {order:?}: power {power}");
        }
    }
}

#[test]
fn headers_that_other_software_accepts_are_accepted() {
    let (_folder, at) = folder(4);
    let own = ClipRequest { external_decoder: ExternalDecoder::Disabled, ..request() };
    let expected = read(Source::path(at("source.wav")), &own).clip;
    let bytes = fs::read(at("source.wav")).unwrap();
    let data = bytes.len() as u32 - 44;
    for (riff, stated) in [
        (data + 28, data),
        (data + 99, data),
        (0, data),
        (u32::MAX, data),
        (0, 0),
        (36, 0),
        (data + 36, u32::MAX),
    ] {
        let mut file = bytes.clone();
        file[4..8].copy_from_slice(&riff.to_le_bytes());
        file[40..44].copy_from_slice(&stated.to_le_bytes());
        let found = read(Source::reader(Cursor::new(file)), &own);
        assert_eq!(worst(&found.clip, &expected), 0.0, "RIFF size {riff}, data size {stated}");
        assert_eq!(found.warnings, [], "RIFF size {riff}, data size {stated}");
    }
    if ffmpeg(&at("source.wav"), "-c:a pcm_s16be", &at("a.aiff")) {
        let mut file = fs::read(at("a.aiff")).unwrap();
        file[4..8].copy_from_slice(&7u32.to_be_bytes());
        assert_eq!(worst(&read(Source::reader(Cursor::new(file)), &own).clip, &expected), 0.0, "FORM size");
    }
    if ffmpeg(&at("source.wav"), "-c:a flac", &at("a.flac")) {
        let file = fs::read(at("a.flac")).unwrap();
        let mut block = file.clone();
        block[8..10].fill(0);
        assert_eq!(
            worst(&read(Source::reader(Cursor::new(block)), &own).clip, &expected),
            0.0,
            "smallest block"
        );
        // A picture block that states more bytes than it has.
        let mut picture = file[..42].to_vec();
        picture[4] &= 0x7f;
        picture.extend(b"\x06\x00\x01\x00");
        picture.extend([0xff; 300]);
        let first_frame = (42..file.len()).find(|&i| file[i] == 0xff && file[i + 1] & 0xfe == 0xf8).unwrap();
        picture.extend(&file[first_frame..]);
        assert_eq!(worst(&read(Source::reader(Cursor::new(picture)), &own).clip, &expected), 0.0, "picture");
    }
    for rate in [88_200, 96_000] {
        if ffmpeg(&at("source.wav"), &format!("-ar {rate} -c:a aac"), &at("a.m4a")) {
            let found = read(Source::path(at("a.m4a")), &own);
            assert!((found.seconds - 4.0).abs() < 0.06, "{rate} Hz: {} s", found.seconds);
        }
    }
}

#[test]
fn magic_numbers_decide_on_the_decoder() {
    let (_folder, at) = folder(4);
    let expected = read(Source::path(at("source.wav")), &request()).clip;
    for (name, arguments, tolerance) in [
        ("a.au", "-c:a pcm_alaw", 0.02),
        ("a.w64", "-c:a pcm_s16le", 1e-3),
        ("a.dts", "-c:a dca -strict -2 -b:a 768k", 2.0),
        ("a.ts", "-c:a mp2 -b:a 256k", 2.0),
        ("a.ac3", "-c:a ac3", 2.0),
    ] {
        if ffmpeg(&at("source.wav"), arguments, &at(name)) {
            let found = read(Source::path(at(name)), &request());
            assert_eq!(found.decoder, "ffmpeg", "{name}");
            assert!((found.seconds - 4.0).abs() < 0.1, "{name}: {} s", found.seconds);
            let worst = worst(&found.clip, &expected);
            println!("{name}: largest difference {worst}");
            // Lossy encoders move the samples: there the length alone is compared.
            assert!(worst < tolerance, "{name}: {worst}");
        }
    }
}

#[test]
fn pcm_of_quicktime_is_read_in_its_byte_order() {
    let (_folder, at) = folder(3);
    let expected = read(Source::path(at("source.wav")), &request()).clip;
    for codec in ["s24be", "s24le", "s32be", "s32le", "f32be", "f32le", "f64be", "f64le"] {
        if ffmpeg(&at("source.wav"), &format!("-c:a pcm_{codec}"), &at("a.mov")) {
            let found = read(
                Source::path(at("a.mov")),
                &ClipRequest { external_decoder: ExternalDecoder::Disabled, ..request() },
            );
            assert!(worst(&found.clip, &expected) < 1e-5, "{codec}: {}", worst(&found.clip, &expected));
        }
    }
}

#[test]
fn dts_stored_as_samples_is_decoded() {
    let (_folder, at) = folder(6);
    if !ffmpeg(&at("source.wav"), "-c:a dca -strict -2 -b:a 1411200 -f dts", &at("raw.dts")) {
        return;
    }
    let stream = fs::read(at("raw.dts")).unwrap();
    // Big-endian words become the little-endian ones of WAV.
    let words: Vec<[f32; 2]> = stream
        .chunks_exact(4)
        .map(|b| [[b[0], b[1]], [b[2], b[3]]].map(|word| f32::from(i16::from_be_bytes(word)) / 32_767.0))
        .collect();
    let mut file = wav(&words);
    file.truncate(44);
    file.extend(stream.chunks_exact(2).flat_map(|b| [b[1], b[0]]));
    fs::write(at("dts.wav"), &file).unwrap();
    if !ffmpeg(&at("raw.dts"), "-c:a pcm_f32le", &at("expected.wav")) {
        return;
    }
    let expected = read(Source::path(at("expected.wav")), &request()).clip;
    let mut names = vec!["dts.wav"];
    // The WAV demuxer of ffmpeg would decode the stream: the words go through as bare samples.
    fs::write(at("words.raw"), &file[44..]).unwrap();
    let mut flac = Command::new("ffmpeg");
    flac.args(["-nostdin", "-v", "error", "-y", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i"])
        .arg(at("words.raw"));
    if flac.args(["-c:a", "flac"]).arg(at("dts.flac")).status().is_ok_and(|status| status.success()) {
        names.push("dts.flac");
    }
    for name in names {
        let found = read(Source::path(at(name)), &request());
        assert_eq!(found.decoder, "ffmpeg", "{name}");
        let (a, b) = (&found.clip.samples, &expected.samples);
        let difference: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(difference < 0.1 * b.iter().map(|b| b * b).sum::<f32>(), "{name}: {difference}");
        let refused = ClipReader::open(
            Source::path(at(name)),
            &ClipRequest { external_decoder: ExternalDecoder::Disabled, ..request() },
            &Resamplers::new(),
        );
        let Err(error) = refused else { panic!("{name} is tagged as samples") };
        assert!(error.to_string().contains("DTS"), "{name}: {error}");
    }
}

#[test]
fn damage_is_told() {
    let (_folder, at) = folder(20);
    for (name, arguments) in [
        ("a.ogg", "-c:a libvorbis"),
        ("a.opus", "-c:a libopus"),
        ("a.aac", "-c:a aac -f adts"),
        ("a.mkv", "-c:a libvorbis"),
        ("a.mp3", "-c:a libmp3lame"),
    ] {
        if !ffmpeg(&at("source.wav"), arguments, &at(name)) {
            continue;
        }
        assert!(!tells_of_damage(&read(Source::path(at(name)), &request()).warnings), "{name}");
        let mut file = fs::read(at(name)).unwrap();
        let length = file.len();
        for hole in 1..12 {
            let place = length / 13 * hole;
            file[place..place + length / 60].fill(0xaa);
        }
        fs::write(at(name), file).unwrap();
        let found = read(Source::path(at(name)), &request());
        assert!(tells_of_damage(&found.warnings), "{name}: {:?}, {} s", found.warnings, found.seconds);
    }
}

#[test]
fn streams_cut_by_copying_lose_nothing() {
    let (_folder, at) = folder(20);
    if !ffmpeg(&at("source.wav"), "-c:a libvorbis", &at("a.ogg")) {
        return;
    }
    for start in ["0.7", "3.3", "11.1"] {
        if !ffmpeg(&at("a.ogg"), &format!("-ss {start} -c copy"), &at("cut.ogg"))
            || !ffmpeg(&at("cut.ogg"), "-c:a pcm_f32le", &at("cut.wav"))
        {
            return;
        }
        let own =
            ClipRequest { placement: Placement::Centre, ..ClipRequest::new(RATE_HZ, 2 * RATE_HZ as usize) };
        let (found, expected) =
            (read(Source::path(at("cut.ogg")), &own), read(Source::path(at("cut.wav")), &own));
        assert!(
            (found.seconds - expected.seconds).abs() < 0.1,
            "{} for {} s",
            found.seconds,
            expected.seconds
        );
        // The same samples, at most one block later or earlier.
        let (a, b) = (&found.clip.samples, &expected.clip.samples);
        let moved = |by: i64| -> f32 {
            (8_192..16_384).map(|i| (a[i] - b[(i as i64 + by) as usize]).abs()).fold(0.0, f32::max)
        };
        let best = (-4_096..=4_096).map(moved).fold(f32::MAX, f32::min);
        assert!(best < 1e-3, "from {start} s: {best}");
    }
}

#[test]
fn cancelled_quiet_and_constant_clips_are_told() {
    let warnings = |change: fn([f32; 2]) -> [f32; 2]| {
        let samples: Vec<[f32; 2]> = music(3).into_iter().map(change).collect();
        read(Source::reader(Cursor::new(wav(&samples))), &request()).warnings
    };
    assert_eq!(warnings(|x| x), []);
    let cancelled = warnings(|[x, _]| [x, -0.98 * x]);
    assert!(
        matches!(cancelled[0], Warning::Cancellation { loss_db } if (loss_db - 40.0).abs() < 1.0),
        "{cancelled:?}"
    );
    let quiet = warnings(|x| x.map(|x| 0.004 * x));
    assert!(
        matches!(quiet[0], Warning::Quiet { level_dbfs } if (-66.0..-56.0).contains(&level_dbfs)),
        "{quiet:?}"
    );
    assert_eq!(warnings(|_| [0.25, 0.25]), [Warning::Silent]);
}

/// `ffmpeg` recognises scripts by their content: a file with the name of a song must not make it read another file.
#[test]
fn a_file_never_leads_to_another_one() {
    let (_folder, at) = folder(3);
    let tag = |rest: &str| [&b"ID3\x04\0\0\0\0\0\x05AAAAA"[..], rest.as_bytes()].concat();
    let concat = "ffconcat version 1.0\nfile source.wav\n";
    for (name, bytes) in [
        ("concat.mp3", concat.as_bytes().to_vec()),
        ("tagged.mp3", tag(concat)),
        ("tagged_twice.mp3", [tag(""), tag(concat)].concat()),
        ("list.mp3", b"#EXTM3U\n#EXTINF:3,\nsource.wav\n".to_vec()),
        ("dash.flac", b"<?xml version=\"1.0\"?>\n<MPD><BaseURL>source.wav</BaseURL></MPD>".to_vec()),
    ] {
        fs::write(at(name), bytes).unwrap();
        let Err(error) = ClipReader::open(Source::path(at(name)), &request(), &Resamplers::new()) else {
            panic!("{name} was read");
        };
        assert!(error.to_string().contains("playlist"), "{name}: {error}");
    }
}
