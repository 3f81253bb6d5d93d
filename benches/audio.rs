//! Reading of audio: decoding with resampling, and resampling alone, to the rate of the models.
//!
//! `cargo bench --bench audio`. `tagwave bench pipeline` measures folders of music. With `TAGWAVE_MP3_FOLDER`, files of that
//! folder are opened, which reads and indexes them, and opened and decoded.

use std::path::PathBuf;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tagwave::audio::{ClipReader, ClipRequest, Placement, Resamplers, Source};

/// Rate of the models.
const RATE_HZ: u32 = 12_000;

const SECONDS: u32 = 30;

fn read(source: Source, request: &ClipRequest, resamplers: &Resamplers) -> usize {
    let reader = ClipReader::open(source, request, resamplers).unwrap();
    reader.map(|clip| clip.unwrap().samples.len()).sum()
}

/// Seconds of audio per second are `elem/s`.
fn audio(criterion: &mut Criterion) {
    let resamplers = Resamplers::new();
    let second = RATE_HZ as usize;
    let request = ClipRequest {
        placement: Placement::All { stride_samples: second },
        ..ClipRequest::new(RATE_HZ, second)
    };
    let mut group = criterion.benchmark_group("audio");
    group.throughput(Throughput::Elements(SECONDS.into()));
    group.bench_function("decode demo.ogg", |bencher| {
        bencher.iter(|| read(Source::path("assets/demo.ogg"), &request, &resamplers));
    });
    for rate_hz in [44_100, 48_000, 22_050, 12_000] {
        let sine = |n| (n as f32 * 0.05).sin();
        let samples: Arc<[f32]> = (0..rate_hz * SECONDS).map(sine).collect();
        group.bench_function(BenchmarkId::new("resample", rate_hz), |bencher| {
            bencher.iter(|| read(Source::samples(samples.clone(), rate_hz), &request, &resamplers));
        });
    }
}

/// Clips in the middle of whole tracks.
fn tracks(criterion: &mut Criterion) {
    let Some(folder) = std::env::var_os("TAGWAVE_MP3_FOLDER") else {
        println!("not run: tracks (TAGWAVE_MP3_FOLDER is not set)");
        return;
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let resamplers = Resamplers::new();
    let request = ClipRequest::new(RATE_HZ, 349_440);
    let mut group = criterion.benchmark_group("tracks");
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        group.bench_function(BenchmarkId::new("open", &name), |bencher| {
            bencher.iter(|| ClipReader::open(Source::path(&file), &request, &resamplers).unwrap());
        });
        group.bench_function(BenchmarkId::new("open and decode", &name), |bencher| {
            bencher.iter(|| read(Source::path(&file), &request, &resamplers));
        });
    }
}

criterion_group!(benches, audio, tracks);
criterion_main!(benches);
