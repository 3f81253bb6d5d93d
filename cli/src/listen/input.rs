//! Audio from standard input: a container that symphonia reads from a pipe, or raw samples.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use crate::CliError;
use crate::SOME_FAILED;
use tagwave::tagger::StreamInput;

/// Frames read at a time.
const BLOCK_FRAMES: usize = 1024;
/// Pause while the buffer is full.
const PAUSE: Duration = Duration::from_millis(2);

/// Format of raw samples.
#[derive(Debug, Args)]
pub(super) struct RawArgs {
    /// Raw samples without a header, interleaved and little-endian
    #[arg(long, value_enum, value_name = "TYPE", requires_all = ["rate", "channels"])]
    raw: Option<SampleType>,

    /// Sample rate of raw samples in Hz
    #[arg(long, value_name = "HZ", requires = "raw")]
    rate: Option<u32>,

    /// Number of channels of raw samples
    #[arg(long, value_name = "N", requires = "raw")]
    channels: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SampleType {
    /// 16-bit integers
    S16,
    /// 32-bit floats
    F32,
}

/// Opened audio on standard input.
pub(super) struct AudioInput {
    rate_hz: u32,
    channels: usize,
    kind: InputKind,
}

enum InputKind {
    Raw(SampleType),
    Container { format: Box<dyn FormatReader>, decoder: Box<dyn AudioDecoder>, track: u32 },
}

fn unreadable(reason: impl std::fmt::Display) -> CliError {
    CliError { message: format!("standard input: {reason}"), code: SOME_FAILED }
}

impl AudioInput {
    /// Reads the header.
    pub(super) fn open(raw: &RawArgs) -> Result<AudioInput, CliError> {
        if let (Some(sample_type), Some(rate_hz), Some(channels)) = (raw.raw, raw.rate, raw.channels) {
            return Ok(AudioInput { rate_hz, channels, kind: InputKind::Raw(sample_type) });
        }
        let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(io::stdin())), Default::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| {
                unreadable(format!(
                    "{error}: expected WAV or another format that can be read from a pipe, or raw samples with \
                     --raw s16 --rate 44100 --channels 2"
                ))
            })?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| unreadable("no audio track"))?;
        let params = track.codec_params.as_ref().and_then(|params| params.audio());
        let params = params.ok_or_else(|| unreadable("the header states no codec"))?;
        let rate_hz = params.sample_rate.ok_or_else(|| unreadable("the header states no sample rate"))?;
        let channels = params.channels.as_ref().map(|channels| channels.count());
        let channels = channels.ok_or_else(|| unreadable("the header states no channels"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &AudioDecoderOptions::default())
            .map_err(unreadable)?;
        let track = track.id;
        Ok(AudioInput { rate_hz, channels, kind: InputKind::Container { format, decoder, track } })
    }

    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Reads to the end and passes all samples on, waiting while the buffer is full. The stream ends when it returns.
    pub(super) fn read_into(&mut self, mut input: StreamInput) -> Result<(), CliError> {
        let (rate_hz, channels) = (self.rate_hz, self.channels);
        match &mut self.kind {
            InputKind::Raw(sample_type) => read_raw(*sample_type, channels, &mut input),
            InputKind::Container { format, decoder, track } => loop {
                let packet = match format.next_packet() {
                    Ok(Some(packet)) if packet.track_id == *track => packet,
                    Ok(Some(_)) => continue,
                    Ok(None) => return Ok(()),
                    // A recorder that was stopped ends in the middle of a packet.
                    Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Ok(());
                    }
                    Err(error) => return Err(unreadable(error)),
                };
                let decoded = match decoder.decode(&packet) {
                    Ok(decoded) => decoded,
                    Err(Error::DecodeError(_)) => continue,
                    Err(error) => return Err(unreadable(error)),
                };
                let (rate, count) = (decoded.spec().rate(), decoded.spec().channels().count());
                if (rate, count) != (rate_hz, channels) {
                    return Err(unreadable(format!(
                        "{rate} Hz with {count} channels after {rate_hz} Hz with {channels}: pipe each in turn"
                    )));
                }
                let mut samples = Vec::new();
                decoded.copy_to_vec_interleaved(&mut samples);
                push_all(&mut input, &samples, channels);
            },
        }
    }
}

fn read_raw(sample_type: SampleType, channels: usize, input: &mut StreamInput) -> Result<(), CliError> {
    let mut stdin = io::stdin().lock();
    let frame_bytes = channels
        * match sample_type {
            SampleType::S16 => 2,
            SampleType::F32 => 4,
        };
    let mut bytes = vec![0; BLOCK_FRAMES * frame_bytes];
    let mut filled = 0;
    loop {
        let read = match stdin.read(&mut bytes[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        filled += read;
        let whole = filled / frame_bytes * frame_bytes;
        let samples: Vec<f32> = match sample_type {
            SampleType::S16 => {
                let words = bytes[..whole].as_chunks::<2>().0.iter();
                words.map(|&word| f32::from(i16::from_le_bytes(word)) / 32_768.0).collect()
            }
            SampleType::F32 => {
                bytes[..whole].as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
            }
        };
        bytes.copy_within(whole..filled, 0);
        filled -= whole;
        push_all(input, &samples, channels);
    }
}

/// Pushes all samples, waiting while the buffer is full. A pipe makes its writer wait meanwhile.
fn push_all(input: &mut StreamInput, mut samples: &[f32], channels: usize) {
    loop {
        let frames = (samples.len() / channels).min(input.free_frames());
        let taken = input.push_interleaved(&samples[..frames * channels]);
        samples = &samples[taken * channels..];
        if samples.len() < channels || input.is_abandoned() {
            return;
        }
        thread::sleep(PAUSE);
    }
}
