//! The built-in decoders against ffmpeg: `cargo xtask compare-decoders DIR...` decodes every file with both and lists
//! where length, place or samples differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::limited;

const LIMIT: Duration = Duration::from_secs(120);
/// Samples that are compared to find the place, and how far it is searched for.
const WINDOW: usize = 8192;
const REACH: usize = 4096;
/// Differences that are not listed: of length in seconds, and of samples as a share of their RMS.
const LENGTH_TOLERANCE_S: f64 = 0.03;
const SAMPLE_TOLERANCE_DB: f64 = -40.0;

struct Pcm {
    rate_hz: u32,
    samples: Vec<f32>,
}

impl Pcm {
    fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate_hz.max(1))
    }
}

pub fn compare(decode: &Path, folders: &[String]) -> Result<(), String> {
    if folders.is_empty() {
        return Err("usage: cargo xtask compare-decoders DIR...".into());
    }
    let mut files = Vec::new();
    folders.iter().try_for_each(|folder| walk(Path::new(folder), &mut files))?;
    files.sort();
    let (mut alike, mut unlike, mut alone) = (0, 0, [0; 3]);
    for file in &files {
        let name = file.display();
        match (own(decode, file)?, ffmpeg(file)?) {
            (Ok(own), Ok(other)) => match difference(&own, &other) {
                None => alike += 1,
                Some(difference) => {
                    unlike += 1;
                    println!("{name:?}: {difference}");
                }
            },
            (Ok(own), Err(reason)) => {
                alone[0] += 1;
                println!("{name:?}: only tagwave decodes it, {:.3} s; ffmpeg: {reason}", own.seconds());
            }
            (Err(reason), Ok(other)) => {
                alone[1] += 1;
                println!("{name:?}: only ffmpeg decodes it, {:.3} s; tagwave: {reason}", other.seconds());
            }
            (Err(_), Err(_)) => alone[2] += 1,
        }
    }
    println!(
        "{} files: {alike} alike, {unlike} different, {} by tagwave alone, {} by ffmpeg alone, {} by neither",
        files.len(),
        alone[0],
        alone[1],
        alone[2]
    );
    Ok(())
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if found.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        return entries.flatten().try_for_each(|entry| walk(&entry.path(), files));
    }
    if found.is_file() {
        files.push(path.to_path_buf());
    }
    Ok(())
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").chars().take(200).collect()
}

fn own(decode: &Path, file: &Path) -> Result<Result<Pcm, String>, String> {
    let ran = limited::run(Command::new(decode).arg(file), LIMIT)?;
    if !ran.status.is_some_and(|status| status.success()) {
        return Ok(Err(last_line(&ran.stderr)));
    }
    let rate_hz = ran.stderr.split(" Hz").next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
    Ok(Ok(Pcm { rate_hz, samples: floats(&ran.stdout) }))
}

/// Decoded by ffmpeg as a WAV file on its standard output, mixed to mono by the mean.
fn ffmpeg(file: &Path) -> Result<Result<Pcm, String>, String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file);
    command.args(["-map", "0:a:0", "-t", "3600", "-c:a", "pcm_f32le", "-f", "wav", "-"]);
    let ran = limited::run(&mut command, LIMIT)?;
    Ok(wav(&ran.stdout).ok_or_else(|| last_line(&ran.stderr)))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn wav(bytes: &[u8]) -> Option<Pcm> {
    let mut rest = bytes.get(12..)?;
    let (mut channels, mut rate_hz) = (0usize, 0);
    loop {
        let (kind, size) =
            (rest.first_chunk::<4>()?, u32::from_le_bytes(*rest.get(4..8)?.first_chunk()?) as usize);
        let body = rest.get(8..)?;
        match kind {
            b"fmt " => {
                channels = u16::from_le_bytes(*body.get(2..)?.first_chunk()?).into();
                rate_hz = u32::from_le_bytes(*body.get(4..)?.first_chunk()?);
            }
            b"data" => {
                let mixed = |frame: &[f32]| frame.iter().sum::<f32>() / frame.len() as f32;
                let samples: Vec<f32> = floats(body).chunks_exact(channels.max(1)).map(mixed).collect();
                return (!samples.is_empty()).then_some(Pcm { rate_hz, samples });
            }
            _ => {}
        }
        rest = body.get(size..)?;
    }
}

fn difference(own: &Pcm, other: &Pcm) -> Option<String> {
    let lengths = format!("{:.3} s and {:.3} s", own.seconds(), other.seconds());
    if own.rate_hz != other.rate_hz {
        return Some(format!("{lengths}, rates {} and {} Hz", own.rate_hz, other.rate_hz));
    }
    let (place, error_db) = place(&own.samples, &other.samples);
    let is_long = (own.seconds() - other.seconds()).abs() > LENGTH_TOLERANCE_S;
    let largest = own.samples.iter().skip(place.max(0) as usize);
    let largest = largest.zip(other.samples.iter().skip((-place).max(0) as usize));
    let largest = largest.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (is_long || place != 0 || error_db > SAMPLE_TOLERANCE_DB).then(|| {
        format!("{lengths}, offset {place} samples, error {error_db:.1} dB in the middle, largest difference {largest:.4}")
    })
}

/// How many samples later the own decoder has the middle of the track, and the error there in dB of its power.
fn place(own: &[f32], other: &[f32]) -> (i64, f64) {
    let length = own.len().min(other.len());
    let window = WINDOW.min(length);
    let start = (length - window) / 2;
    let Some(wanted) = other.get(start..start + window) else { return (0, 0.0) };
    let power: f64 = wanted.iter().map(|&x| f64::from(x).powi(2)).sum();
    let error = |at: usize| -> Option<f64> {
        let found = own.get(at..at + window)?;
        Some(found.iter().zip(wanted).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum())
    };
    let in_db = |error: f64| if error == 0.0 { -200.0 } else { 10.0 * (error / power.max(1e-12)).log10() };
    // The same place is preferred to another that is hardly better.
    let same = error(start).unwrap_or(f64::INFINITY);
    if in_db(same) < SAMPLE_TOLERANCE_DB {
        return (0, in_db(same));
    }
    let places = start.saturating_sub(REACH)..=start + REACH;
    let best = places.filter_map(|at| Some((at, error(at)?))).min_by(|a, b| a.1.total_cmp(&b.1));
    let (at, least) = best.unwrap_or((start, same));
    if least * 2.0 < same { (at as i64 - start as i64, in_db(least)) } else { (0, in_db(same)) }
}
