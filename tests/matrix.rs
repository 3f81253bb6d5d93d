//! Good, cut, changed and foreign files, all of them made here without other programs: tagged in one batch and one by one.
//!
//! `cargo xtask matrix DIR` does the same with files of many more formats.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "small"))]
#![cfg(feature = "small")]

mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use common::audio::wav_i16;
use tagwave::Error;
use tagwave::ErrorKind;
use tagwave::audio::{ClipReader, ClipRequest, ExternalDecoder, Placement, Resamplers, Source};
use tagwave::tagger::{Device, Tagger, Track};

const RATE_HZ: u32 = 24_000;
const BLOCK: usize = 4096;

/// Expected outcome of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    /// The scores of the reference.
    Reference,
    Tags,
    Error,
    Either,
}

struct File {
    name: String,
    bytes: Vec<u8>,
    expect: Expect,
}

/// Six seconds of the music in the repository, as 16-bit samples.
fn music() -> Vec<i16> {
    let length = 6 * RATE_HZ as usize;
    let request = ClipRequest { placement: Placement::At(5.0), ..ClipRequest::new(RATE_HZ, length) };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.ogg");
    let mut reader = ClipReader::open(Source::path(path), &request, &Resamplers::new()).unwrap();
    reader.next().unwrap().unwrap().samples.iter().map(|x| (x * 32_767.0) as i16).collect()
}

fn aiff(samples: &[i16]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 2;
    let mut file = b"FORM".to_vec();
    file.extend((46 + bytes).to_be_bytes());
    file.extend(b"AIFFCOMM\0\0\0\x12\0\x01");
    file.extend((samples.len() as u32).to_be_bytes());
    // 24000 Hz as an 80-bit float.
    file.extend(b"\0\x10\x40\x0d\xbb\x80\0\0\0\0\0\0SSND");
    file.extend((8 + bytes).to_be_bytes());
    file.extend([0; 8]);
    file.extend(samples.iter().flat_map(|x| x.to_be_bytes()));
    file
}

/// FLAC (RFC 9639) of verbatim subframes.
fn flac(samples: &[i16]) -> Vec<u8> {
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend([BLOCK as u16; 2].into_iter().flat_map(u16::to_be_bytes));
    file.extend([0; 6]);
    let word = u64::from(RATE_HZ) << 44 | 15 << 36 | samples.len() as u64;
    file.extend(word.to_be_bytes());
    file.extend([0; 16]);
    for (number, block) in samples.chunks(BLOCK).enumerate() {
        assert!(number < 128, "one byte holds the number");
        // A block size of 16 bits, the rate of STREAMINFO, one channel of 16 bits.
        let mut frame = vec![0xff, 0xf8, 0x70, 0x08, number as u8];
        frame.extend((block.len() as u16 - 1).to_be_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        frame.push(0x02);
        frame.extend(block.iter().flat_map(|x| x.to_be_bytes()));
        frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
        file.extend(frame);
    }
    file
}

fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let top = 1 << (bits - 1);
    let mask = (top << 1) - 1;
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << (bits - 8), |crc, _| {
            (if crc & top != 0 { crc << 1 ^ polynomial } else { crc << 1 }) & mask
        })
    })
}

/// A small generator of numbers (splitmix64).
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

fn files() -> Vec<File> {
    let samples = music();
    let ogg = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.ogg")).unwrap();
    let good = [
        ("wav", wav_i16(1, RATE_HZ, &samples)),
        ("aiff", aiff(&samples)),
        ("flac", flac(&samples)),
        ("ogg", ogg),
    ];
    let mut files = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, expect| files.push(File { name, bytes, expect });
    for (ending, bytes) in &good {
        let expect = if *ending == "ogg" { Expect::Tags } else { Expect::Reference };
        add(format!("good.{ending}"), bytes.clone(), expect);
        // Content decides, not the name.
        add(format!("{ending}_named.mp3"), bytes.clone(), expect);
        add(format!("{ending}_without_ending"), bytes.clone(), expect);
        for part in [1, 2, 3, 5, 7] {
            add(format!("cut_{part}_8.{ending}"), bytes[..bytes.len() * part / 8].to_vec(), Expect::Tags);
        }
        for end in [0, 1, 4, 11, 20, 40] {
            add(format!("cut_{end}_bytes.{ending}"), bytes[..end].to_vec(), Expect::Error);
        }
        add(format!("second_half.{ending}"), bytes[bytes.len() / 2..].to_vec(), Expect::Either);
        add(format!("twice.{ending}"), [&bytes[..], bytes].concat(), Expect::Tags);
        for seed in 0..24 {
            let mut state = seed;
            let mut changed = bytes.clone();
            // The headers first, then anywhere.
            let reach = if seed % 2 == 0 { 200 } else { changed.len() };
            for _change in 0..1 << (seed % 5) {
                let at = random(&mut state) % reach;
                changed[at] ^= 1 << (random(&mut state) % 8);
            }
            add(format!("bits_{seed}.{ending}"), changed, Expect::Either);
        }
    }
    let mut state = 7;
    for ending in ["mp3", "wav", "flac", "ogg", "m4a", "aac", "mka"] {
        let garbage = (0..20_000).map(|_| random(&mut state) as u8).collect();
        add(format!("garbage.{ending}"), garbage, Expect::Error);
        add(format!("zeros.{ending}"), vec![0; 20_000], Expect::Error);
        add(format!("ones.{ending}"), vec![0xff; 20_000], Expect::Error);
        add(format!("text.{ending}"), b"no music at all. ".repeat(999), Expect::Error);
    }
    files
}

fn tagger(device: Device) -> Option<Tagger> {
    let mut builder = Tagger::builder().model("small").device(device.clone());
    builder = builder.external_decoder(ExternalDecoder::Disabled);
    match builder.build() {
        Ok(tagger) => Some(tagger),
        Err(error) => {
            let required = std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1");
            assert!(device != Device::Cpu && !required, "{error}");
            println!("skipped: no adapter ({error})");
            None
        }
    }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn judge(file: &File, outcome: &Result<Track, Error>, reference: &[f32]) {
    let name = &file.name;
    match (file.expect, outcome) {
        (Expect::Reference, Ok(track)) => {
            assert!(worst(&track.scores, reference) < 1e-3, "{name}: {}", worst(&track.scores, reference));
        }
        (Expect::Tags | Expect::Either, Ok(track)) => {
            assert!(track.scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
        }
        (Expect::Error | Expect::Either, Err(error)) => {
            assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Unsupported), "{name}: {error}");
        }
        (expected, Ok(track)) => {
            panic!("{name}: expected {expected:?}, found tags with {:?}", track.warnings)
        }
        (expected, Err(error)) => panic!("{name}: expected {expected:?}, found {error}"),
    }
}

#[test]
fn every_file_of_the_matrix_comes_to_what_it_must() {
    let files = files();
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.path().join(&file.name)).collect();
    for (file, path) in files.iter().zip(&paths) {
        fs::write(path, &file.bytes).unwrap();
    }
    let cpu = tagger(Device::Cpu).unwrap();
    let reference = cpu.tag_file(&paths[0]).unwrap().scores;
    let batch = cpu.tag_batch(paths.iter().map(Source::path));
    assert_eq!(batch.len(), files.len());
    for ((file, path), together) in files.iter().zip(&paths).zip(&batch) {
        judge(file, together, &reference);
        let alone = cpu.tag_file(path);
        match (&alone, together) {
            (Ok(alone), Ok(together)) => {
                assert_eq!(alone.scores, together.scores, "{}: alone and in a batch", file.name);
                assert_eq!(alone.warnings, together.warnings, "{}", file.name);
            }
            (Err(alone), Err(together)) => assert_eq!(alone.kind(), together.kind(), "{}", file.name),
            _ => panic!("{}: {alone:?} alone, {together:?} in a batch", file.name),
        }
    }
    println!("{} files, {} errors", files.len(), batch.iter().filter(|outcome| outcome.is_err()).count());
    let Some(gpu) = tagger(Device::Gpu) else { return };
    for ((file, gpu), cpu) in files.iter().zip(gpu.tag_batch(paths.iter().map(Source::path))).zip(&batch) {
        match (&gpu, cpu) {
            (Ok(gpu), Ok(cpu)) => {
                assert!(worst(&gpu.scores, &cpu.scores) < 2e-3, "{}: two devices", file.name);
            }
            (Err(gpu), Err(cpu)) => assert_eq!(gpu.kind(), cpu.kind(), "{}", file.name),
            _ => panic!("{}: {gpu:?} and {cpu:?}", file.name),
        }
    }
}

/// The same bytes from a pipe.
#[test]
fn a_pipe_gives_what_a_file_gives() {
    let cpu = tagger(Device::Cpu).unwrap();
    let bytes = flac(&music());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.flac");
    fs::write(&path, &bytes).unwrap();
    let piped = cpu.tag_batch([Source::reader(Cursor::new(bytes))]).remove(0).unwrap();
    assert_eq!(piped.scores, cpu.tag_file(&path).unwrap().scores);
}
