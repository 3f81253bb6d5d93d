//! Streams of live audio against the same windows of a track, and what an audio thread relies on.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "small"))]

mod common;

use std::time::{Duration, Instant};

use tagwave::ErrorKind;
use tagwave::audio::{ClipPadding, Placement, Source};
use tagwave::tagger::{Device, Stream, StreamConfig, StreamInput, StreamUpdate, Tagger, TaggerBuilder};

/// Length of a clip of `small` in seconds.
const CLIP_S: f64 = 349_440.0 / 12_000.0;

fn cpu() -> TaggerBuilder {
    Tagger::builder().device(Device::Cpu).cpu_threads(1)
}

/// Two tones that glide, and a beat.
fn music(seconds: f64, rate_hz: u32) -> Vec<f32> {
    let rate = f64::from(rate_hz);
    let sample = |n: usize| {
        let t = n as f64 / rate;
        let tones = 0.3 * (2000.0 * t + 40.0 * t * t).sin() + 0.2 * (900.0 * t).cos();
        (tones * (0.6 + 0.4 * (12.0 * t).sin().signum())) as f32
    };
    (0..(seconds * rate) as usize).map(sample).collect()
}

fn stereo(mono: &[f32]) -> Vec<f32> {
    mono.iter().flat_map(|&x| [1.5 * x, 0.5 * x]).collect()
}

/// Pushes `samples` in blocks of an audio thread and collects all updates.
fn updates(
    (mut input, mut stream): (StreamInput, Stream),
    samples: &[f32],
    channels: usize,
) -> Vec<StreamUpdate> {
    let mut updates = Vec::new();
    for block in samples.chunks(512 * channels) {
        assert_eq!(input.push_interleaved(block), block.len() / channels);
        while let Some(update) = stream.pump().unwrap() {
            updates.push(update);
        }
    }
    drop(input);
    while !stream.has_ended() {
        updates.extend(stream.pump().unwrap());
    }
    updates
}

/// Scores of the window that begins `start_s` into a track.
fn of_track(samples: &[f32], rate_hz: u32, start_s: f64) -> Vec<f32> {
    let tagger = cpu().placement(Placement::At(start_s)).build().unwrap();
    tagger.tag(Source::samples(samples, rate_hz)).unwrap().scores
}

/// Each frame is computed once, and yet whole windows have the bits of the same clips of a track.
#[test]
fn windows_have_the_scores_of_the_same_clips_of_a_track() {
    for (rate_hz, channels) in [(48_000, 2), (44_100, 1), (12_000, 1)] {
        let mono = music(33.0, rate_hz);
        let samples = if channels == 2 { stereo(&mono) } else { mono.clone() };
        let tagger = cpu().build().unwrap();
        let config = StreamConfig::new(rate_hz, channels).hop_s(0.7).every_hop(true);
        let updates = updates(tagger.stream(config).unwrap(), &samples, channels);
        let whole: Vec<_> = updates.iter().filter(|update| update.heard_s == CLIP_S).collect();
        assert!(updates.len() >= 46 && whole.len() >= 5, "{} {}", updates.len(), whole.len());
        for update in whole {
            let expected = of_track(&mono, rate_hz, update.start_s);
            assert_eq!(update.scores, expected, "{rate_hz} Hz, window from {} s", update.start_s);
            assert!((update.end_s - update.start_s - CLIP_S).abs() < 1e-9 && !update.is_silent);
        }
    }
}

/// Another framing and compatibility, where the published weights are at hand.
#[test]
fn windows_of_compact_and_of_short_hops() {
    let Some(weights) = common::fixture("weights") else { return };
    let mono = music(31.0, 12_000);
    for model in ["compact", "crnn"] {
        let builder = || cpu().model(model).weights(&weights);
        let tagger = builder().build().unwrap();
        let config = StreamConfig::new(12_000, 1).hop_s(0.25).every_hop(true);
        let updates = updates(tagger.stream(config).unwrap(), &mono, 1);
        let clip_s = tagger.clip_samples() as f64 / 12_000.0;
        let last = updates.iter().rfind(|update| update.heard_s == clip_s).unwrap();
        let at = builder().placement(Placement::At(last.start_s)).build().unwrap();
        assert_eq!(last.scores, at.tag_samples(&mono, 12_000).unwrap().scores, "{model}");
    }
}

/// Before a clip was heard, and in windows shorter than a clip, the padding of short tracks applies.
#[test]
fn short_windows_are_padded_as_short_tracks() {
    let mono = music(6.0, 12_000);
    for padding in [ClipPadding::Zeros, ClipPadding::Repeat] {
        let tagger = cpu().padding(padding).build().unwrap();
        let config = StreamConfig::new(12_000, 1).hop_s(2.0).every_hop(true);
        let first = updates(tagger.stream(config.clone()).unwrap(), &mono, 1);
        assert_eq!(first.iter().map(|update| update.heard_s).collect::<Vec<_>>(), [2.0, 4.0, 6.0]);
        assert_eq!(first[1].scores, tagger.tag_samples(&mono[..48_000], 12_000).unwrap().scores);
        let short = updates(tagger.stream(config.window_s(3.0)).unwrap(), &mono, 1);
        assert_eq!((short[2].start_s, short[2].end_s, short[2].heard_s), (3.0, 6.0, 3.0));
        assert_eq!(short[2].scores, tagger.tag_samples(&mono[36_000..], 12_000).unwrap().scores);
    }
}

#[test]
fn integers_and_planar_samples_are_the_same_audio() {
    let tagger = cpu().build().unwrap();
    let integers: Vec<i16> = music(2.1, 22_050).iter().map(|x| (x * 32_768.0) as i16).collect();
    let floats: Vec<f32> = integers.iter().map(|&x| f32::from(x) / 32_768.0).collect();
    let config = StreamConfig::new(22_050, 2).every_hop(true);
    let expected = updates(tagger.stream(config.clone()).unwrap(), &stereo(&floats), 2);
    let [left, right]: [Vec<f32>; 2] = [1.5, 0.5].map(|gain| floats.iter().map(|x| gain * x).collect());
    let (mut input, mut stream) = tagger.stream(config.clone()).unwrap();
    assert_eq!(input.push_planar(&[&left]), 0, "one channel of two");
    assert_eq!(input.push_planar(&[&left, &right[..right.len() - 1]]), floats.len() - 1);
    drop(input);
    let mut planar = Vec::new();
    while !stream.has_ended() {
        planar.extend(stream.pump().unwrap());
    }
    assert_eq!(planar[0].scores, expected[0].scores);
    let (mut input, mut stream) = tagger.stream(StreamConfig::new(22_050, 1)).unwrap();
    assert_eq!(input.push_interleaved_i16(&integers), integers.len());
    assert_eq!(stream.pump().unwrap().unwrap().skipped, 1, "two hops were waiting");
}

#[test]
fn a_reset_begins_again() {
    let tagger = cpu().build().unwrap();
    let (before, after) = (music(2.5, 12_000), music(1.0, 12_000));
    let (mut input, mut stream) = tagger.stream(StreamConfig::new(12_000, 1)).unwrap();
    input.push_interleaved(&before);
    assert_eq!(stream.pump().unwrap().unwrap().end_s, 2.0);
    // The reset discards samples in the buffer that were pushed before it, and keeps later ones.
    input.push_interleaved(&before);
    input.reset();
    input.push_interleaved(&after);
    let update = stream.pump().unwrap().unwrap();
    assert_eq!((update.start_s, update.end_s), (0.0, 1.0));
    assert_eq!(update.scores, tagger.tag_samples(&after, 12_000).unwrap().scores);
}

#[test]
fn a_full_buffer_is_counted() {
    let tagger = cpu().build().unwrap();
    let (mut input, mut stream) = tagger.stream(StreamConfig::new(8_000, 2).buffer_s(1.0)).unwrap();
    assert_eq!(input.free_frames(), 8_000);
    assert_eq!(input.push_interleaved(&vec![0.1; 20_001]), 8_000);
    assert_eq!(input.overrun_frames(), 2_000);
    let update = stream.pump().unwrap();
    assert!(update.is_none_or(|update| update.overrun_frames == 2_000));
    assert_eq!(input.free_frames(), 8_000);
}

/// A sample that is not a number fails the windows that hold it, and no other.
#[test]
fn invalid_samples_fail_their_windows() {
    let tagger = cpu().build().unwrap();
    for (value, message) in [(f32::NAN, "sample 6000 is NaN"), (1e30, "samples are too large")] {
        let config = StreamConfig::new(12_000, 1).window_s(2.0).every_hop(true);
        let (mut input, mut stream) = tagger.stream(config).unwrap();
        let mut samples = music(4.0, 12_000);
        samples[6_000] = value;
        samples[38_400] = value;
        input.push_interleaved(&samples);
        drop(input);
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while !stream.has_ended() {
            match stream.pump() {
                Ok(update) => good.extend(update.map(|update| update.end_s)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Input);
                    bad.push(error.to_string());
                }
            }
        }
        // It is at 0.5 s, and a second one at 3.2 s.
        assert_eq!(good, [3.0]);
        assert_eq!(bad.len(), 3);
        assert!(bad[0].contains(message), "{bad:?}");
    }
}

#[test]
fn scores_can_be_smoothed() {
    let tagger = cpu().build().unwrap();
    let samples: Vec<f32> = [music(2.0, 12_000), vec![0.0; 24_000]].concat();
    let config = StreamConfig::new(12_000, 1).window_s(2.0).every_hop(true);
    let plain = updates(tagger.stream(config.clone()).unwrap(), &samples, 1);
    let smooth = updates(tagger.stream(config.smoothing_s(1.0)).unwrap(), &samples, 1);
    assert!(plain[3].is_silent);
    assert_eq!(plain[0].scores, smooth[0].scores);
    let kept = (-1f32).exp();
    for label in 0..50 {
        let expected = kept * smooth[0].scores[label] + (1.0 - kept) * plain[1].scores[label];
        assert!((smooth[1].scores[label] - expected).abs() < 1e-6);
    }
}

#[test]
fn invalid_settings_are_errors() {
    let tagger = cpu().build().unwrap();
    let config = StreamConfig::new(48_000, 2);
    for (config, message) in [
        (StreamConfig::new(999, 2), "sample rate 999 Hz, expected 1000 to 768000 Hz"),
        (StreamConfig::new(48_000, 0), "stream: channels is 0, expected 1 to 64"),
        (config.clone().hop_s(0.0), "stream: hop is 0 s, expected 0.05 to 3600 s"),
        (config.clone().hop_s(f64::NAN), "stream: hop is NaN s, expected 0.05 to 3600 s"),
        (config.clone().window_s(-1.0), "stream: window is -1 s, expected more than 0 s"),
        (
            config.clone().buffer_s(1e9),
            "stream: buffer is 1000000000 s, expected more than 0 s and at most 256 MB",
        ),
        (config.smoothing_s(-1.0), "stream: smoothing is -1 s, expected 0 s or more"),
    ] {
        let error = tagger.stream(config).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Input, message));
    }
}

/// The worker gives the updates of the pumped stream, ends with its input, and stops when it is dropped.
#[test]
fn a_worker_does_the_same() {
    let tagger = cpu().build().unwrap();
    let samples = music(3.0, 16_000);
    let config = StreamConfig::new(16_000, 1).every_hop(true);
    let expected = updates(tagger.stream(config.clone()).unwrap(), &samples, 1);
    let (mut input, stream) = tagger.stream(config.clone()).unwrap();
    let worker = stream.spawn().unwrap();
    input.push_interleaved(&samples);
    drop(input);
    let found: Vec<_> = worker.map(Result::unwrap).collect();
    assert_eq!(found, expected);
    // Updates from before a reset are not given.
    let (mut input, stream) = tagger.stream(config.clone()).unwrap();
    let worker = stream.spawn().unwrap();
    input.push_interleaved(&samples);
    std::thread::sleep(Duration::from_millis(300));
    input.reset();
    assert_eq!(worker.next_timeout(Duration::from_millis(200)).unwrap(), None);
    let (mut input, stream) = tagger.stream(config).unwrap();
    let worker = stream.spawn().unwrap();
    input.push_interleaved(&samples);
    let update = worker.next_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(update.as_ref(), expected.first());
    let start = Instant::now();
    drop(worker);
    assert!(start.elapsed() < Duration::from_secs(30));
}
