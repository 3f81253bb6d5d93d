//! Damaged and malicious weight files: an error or finite numbers, but no panic, no hang, and memory bounded by the size
//! of the file. All inputs are derived from two small files in the repository.
#![cfg(feature = "keras")]

use std::time::{Duration, Instant};

#[path = "common/allocations.rs"]
mod allocations;

use allocations::{LIVE, PEAK};
use tagwave::tensor::{DType, HostTensor};
use tagwave::weights::{Checkpoint, Manifest, TensorSpec, Weights, WeightsError, export, load};

const TINY: [&[u8]; 2] =
    [include_bytes!("golden/weights/tiny_theano.h5"), include_bytes!("golden/weights/tiny_tensorflow.h5")];

/// Memory a read may use over the size of the file: the HDF5 reader makes room for as many header messages as
/// a 16-bit count can claim.
const ALLOWANCE: usize = 12 << 20;

/// Maximum time of reading a few kilobytes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum over many reads.
#[derive(Default)]
struct Worst {
    reads: usize,
    errors: usize,
    caught: usize,
    memory: usize,
    time: Duration,
}

impl Worst {
    fn read(&mut self, what: &str, allowed: usize, read: impl FnOnce() -> Result<(), WeightsError>) {
        let before = LIVE.get();
        PEAK.set(before);
        let start = Instant::now();
        let result = read();
        let (time, memory) = (start.elapsed(), (PEAK.get() - before) as usize);
        assert!(memory <= allowed, "{what}: {memory} bytes allocated, {allowed} allowed");
        assert!(time <= PATIENCE, "{what}: took {time:?}");
        self.reads += 1;
        self.memory = self.memory.max(memory);
        self.time = self.time.max(time);
        if let Err(error) = result {
            self.errors += 1;
            let text = error.to_string();
            self.caught += usize::from(text.contains("the reader panicked"));
            assert!(!text.is_empty() && text.len() < 2000, "{what}: {text}");
        }
    }

    fn report(&self, what: &str) {
        println!(
            "{what}: {} reads, {} errors, {} panics caught, at most {} bytes and {:?}",
            self.reads, self.errors, self.caught, self.memory, self.time
        );
    }
}

fn hdf5(worst: &mut Worst, what: &str, bytes: Vec<u8>) {
    let allowed = 16 * bytes.len() + ALLOWANCE;
    worst.read(what, allowed, || Checkpoint::from_bytes(bytes).map(drop));
}

#[test]
fn hdf5_cut_off_anywhere() {
    let mut worst = Worst::default();
    for file in TINY {
        for length in 0..file.len() {
            hdf5(&mut worst, &format!("cut to {length}"), file[..length].to_vec());
        }
    }
    worst.report("cut off");
    // A file without its last bytes still has all structure; it must not be taken for a whole one.
    assert_eq!(worst.errors, worst.reads);
}

#[test]
fn hdf5_with_any_byte_changed() {
    let mut worst = Worst::default();
    for file in TINY {
        for at in 0..file.len() {
            for flip in [0xff, 0x01, 0x80, 0x10, file[at]] {
                let mut bytes = file.to_vec();
                bytes[at] ^= flip;
                hdf5(&mut worst, &format!("byte {at} ^ {flip:#x}"), bytes);
            }
        }
    }
    worst.report("one byte");
}

#[test]
fn hdf5_with_any_number_made_huge() {
    let mut worst = Worst::default();
    for file in TINY {
        for at in 0..file.len() - 8 {
            for number in [u64::MAX, 1 << 62, 10_000_000_000, 1 << 20, file.len() as u64, at as u64, 0] {
                let mut bytes = file.to_vec();
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
                hdf5(&mut worst, &format!("number at {at} = {number}"), bytes);
            }
        }
    }
    worst.report("huge numbers");
}

#[test]
fn hdf5_with_many_bytes_changed() {
    let mut worst = Worst::default();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..20_000 {
        let mut bytes = TINY[round % 2].to_vec();
        for _ in 0..1 + random() % 12 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        // Parts of the structure swapped: headers read as other headers, cycles among groups.
        if round % 3 == 0 {
            let (from, to) = ((random() % (bytes.len() - 64)) & !7, (random() % (bytes.len() - 64)) & !7);
            bytes.copy_within(from..from + 64, to);
        }
        hdf5(&mut worst, &format!("round {round}"), bytes);
    }
    worst.report("many bytes");
}

/// The header of one array claims ten billion bytes.
#[test]
fn hdf5_of_promises() {
    let mut bytes = TINY[0].to_vec();
    // The extents [3, 5] of the dense kernel, and the maximum extents after them, stand once in the file.
    let extents: Vec<u8> = [3u64, 5, 3, 5].iter().flat_map(|extent| extent.to_le_bytes()).collect();
    let at = bytes.windows(extents.len()).position(|window| window == extents).expect("extents");
    for axis in [at, at + 16] {
        bytes[axis..axis + 8].copy_from_slice(&500_000_000u64.to_le_bytes());
    }
    let error = Checkpoint::from_bytes(bytes).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("weight \"dense_1_W\": claims 10000000000 bytes, "), "{text}");
}

#[test]
fn hdf5_with_numbers_that_are_none() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = TINY[0].to_vec();
        let ramp: Vec<u8> = (6..11).flat_map(|i| ((i as f32 - 125.0) / 4.0).to_le_bytes()).collect();
        // These five follow one another in several arrays; the first of them is read first.
        let places: Vec<usize> =
            (0..bytes.len() - ramp.len()).filter(|&at| bytes[at..].starts_with(&ramp)).collect();
        for at in places {
            bytes[at + 8..at + 12].copy_from_slice(&bad.to_le_bytes());
        }
        let text = Checkpoint::from_bytes(bytes).unwrap_err().to_string();
        assert_eq!(text, format!("weight \"conv1_W\": expected finite numbers, found {bad} at index 7"));
    }
}

fn manifest() -> Manifest {
    Manifest::parse(include_str!("../weights/crnn/manifest.toml")).unwrap()
}

fn small_specs() -> [TensorSpec; 2] {
    [TensorSpec::trainable("a", "a", [2, 3]), TensorSpec::trainable("b", "b", [5])]
}

/// A small safetensors file.
fn small(dtype: DType) -> Vec<u8> {
    let tensor =
        |extents: &[usize]| HostTensor::from_fn(tagwave::tensor::Shape::new(extents), |i| i as f32 / 4.0);
    let weights =
        Weights::from_tensors([("a".to_string(), tensor(&[2, 3])), ("b".to_string(), tensor(&[5]))]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small.safetensors");
    export(&weights, &path, dtype).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn safetensors_damaged_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.safetensors");
    let (manifest, specs) = (manifest(), small_specs());
    let mut worst = Worst::default();
    let mut read = |what: String, bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let allowed = 16 * bytes.len() + (1 << 20);
        worst.read(&what, allowed, || load(&path, &specs, &manifest).map(drop));
        worst.errors
    };
    for dtype in [DType::F32, DType::F16] {
        let file = small(dtype);

        for length in 0..file.len() {
            let before = read("whole".to_string(), &file);
            assert_eq!(read(format!("cut to {length}"), &file[..length]), before + 1, "cut to {length}");
        }
        for at in 0..file.len() {
            for flip in [0xff, 0x01, 0x80, 0x10, file[at]] {
                let mut bytes = file.clone();
                bytes[at] ^= flip;
                read(format!("byte {at} ^ {flip:#x}"), &bytes);
            }
        }
    }
    worst.report("safetensors");
}

#[test]
fn safetensors_of_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("promises.safetensors");
    let fails = |bytes: &[u8], expected: &str| {
        std::fs::write(&path, bytes).unwrap();
        let text = load(&path, &small_specs(), &manifest()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    let file = small(DType::F32);
    let mut bytes = file.clone();
    bytes[..8].copy_from_slice(&10_000_000_000u64.to_le_bytes());
    fails(&bytes, "the header claims 10000000000 bytes");

    // Replacements of the same length keep the header's own length right.
    let replaced = |from: &str, to: &str| {
        let text = replace_once(&file, from, to);
        assert_ne!(text, file, "{from}");
        text
    };
    fails(&replaced("\"shape\":[5]", "\"shape\":[9]"), "damaged safetensors");
    fails(&replaced("\"shape\":[2,3]", "\"shape\":[3,2]"), "weight \"a\": expected [2, 3], found [3, 2]");
    fails(&replaced("\"dtype\":\"F32\"", "\"dtype\":\"I32\""), "expected F32 or F16, found I32");
    fails(&replaced("\"a\":", "\"c\":"), "missing weights: \"a\"");
    fails(&replaced("tagwave_format\":\"1\"", "tagwave_format\":\"2\""), "expected \"1\", found \"2\"");

    let mut bytes = file.clone();
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fails(&bytes, "weight \"b\": expected finite numbers, found NaN at index 3");
}

/// `file` with the first occurrence of `from` replaced by `to`, of the same length.
fn replace_once(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = file.to_vec();
    if let Some(at) = bytes.windows(from.len()).position(|window| window == from.as_bytes()) {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}
