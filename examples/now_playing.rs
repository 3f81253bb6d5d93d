//! Tags of a file while it plays: a thread pushes its samples at real speed, as an audio callback would.
//!
//! `cargo run --release --example now_playing -- song.wav [SPEED]`

use std::time::{Duration, Instant};

use tagwave::tagger::{StreamConfig, Tagger};
use tagwave::tags::{self, TagSelection};

/// Frames of an audio callback.
const BLOCK: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "assets/demo.ogg".into());
    let speed: f64 = arguments.next().map_or(Ok(1.0), |speed| speed.parse())?;
    let (samples, rate_hz, channels) = decode(&file)?;

    let tagger = Tagger::builder().build()?;
    let (mut input, stream) = tagger.stream(StreamConfig::new(rate_hz, channels))?;
    let updates = stream.spawn()?;

    // The audio thread. `push_interleaved` neither waits nor allocates.
    let player = std::thread::spawn(move || {
        let start = Instant::now();
        for (block, samples) in samples.chunks(BLOCK * channels).enumerate() {
            let due_s = (block * BLOCK) as f64 / f64::from(rate_hz) / speed;
            std::thread::sleep(Duration::from_secs_f64(due_s).saturating_sub(start.elapsed()));
            input.push_interleaved(samples);
        }
        input.overrun_frames()
    });

    // Any other thread: one update per second of audio.
    for update in updates {
        let update = update?;
        let tags = tags::select(tagger.vocabulary(), &update.scores, TagSelection::Top(3));
        let tags: Vec<String> = tags.iter().map(|tag| format!("{} {:.2}", tag.label, tag.score)).collect();
        println!("{:6.1} s  {}", update.end_s, tags.join(", "));
    }
    let lost = player.join().map_err(|_| "the player panicked")?;
    if lost > 0 {
        eprintln!("{lost} frames lost: this machine is too slow for a speed of {speed}");
    }
    Ok(())
}

/// Interleaved samples of a file, its sample rate in Hz and its number of channels; a player has these already.
fn decode(file: &str) -> Result<(Vec<f32>, u32, usize), Box<dyn std::error::Error>> {
    use symphonia::core::formats::{FormatOptions, TrackType, probe::Hint};
    use symphonia::core::{codecs::audio::AudioDecoderOptions, io::MediaSourceStream, meta::MetadataOptions};
    let source = MediaSourceStream::new(Box::new(std::fs::File::open(file)?), Default::default());
    let probe = symphonia::default::get_probe();
    let mut format =
        probe.probe(&Hint::new(), source, FormatOptions::default(), MetadataOptions::default())?;
    let track = format.default_track(TrackType::Audio).ok_or("no audio track")?;
    let (id, params) = (track.id, track.codec_params.as_ref().and_then(|params| params.audio()));
    let codecs = symphonia::default::get_codecs();
    let mut decoder =
        codecs.make_audio_decoder(params.ok_or("no codec")?, &AudioDecoderOptions::default())?;
    let (mut samples, mut block, mut spec) = (Vec::new(), Vec::new(), None);
    while let Some(packet) = format.next_packet()? {
        if packet.track_id == id {
            let decoded = decoder.decode(&packet)?;
            spec = Some((decoded.spec().rate(), decoded.spec().channels().count()));
            decoded.copy_to_vec_interleaved(&mut block);
            samples.append(&mut block);
        }
    }
    let (rate_hz, channels) = spec.ok_or("no audio")?;
    Ok((samples, rate_hz, channels))
}
