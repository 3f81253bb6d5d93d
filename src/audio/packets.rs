//! The container: finding the audio track and handing out its packets. Everything that calls into a demuxer
//! or decoder goes through [`guarded`].

use std::any::Any;
use std::fs::File;
use std::io::ErrorKind::UnexpectedEof;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_AC3, CODEC_ID_ALAC, CODEC_ID_EAC3, CODEC_ID_FLAC, CODEC_ID_MP1, CODEC_ID_MP2,
    CODEC_ID_MP3, CODEC_ID_MUSEPACK, CODEC_ID_OPUS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE,
    CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S8,
    CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE,
    CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8, CODEC_ID_SPEEX, CODEC_ID_VORBIS, CODEC_ID_WAVPACK, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::FormatId;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{
    FORMAT_ID_ADTS, FORMAT_ID_AIFF, FORMAT_ID_CAF, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_MP1,
    FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_OGG, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration as SymphoniaDuration, Timestamp};

use super::adts;
use super::bytes::Bytes;
use super::codec::Codec;
use super::decode::DecoderMode;
use super::detect::{Format, detect};
use super::error::AudioError;
use super::frames::{Frames, Index, frame_samples};
use super::mp3::Mp3;
use super::pulse::Pulse;
use super::repair::{Repair, repair};

/// Packets of other tracks, or without a result, that may follow one another before a file is given up:
/// hours of video frames, but not for ever.
const MAX_FRUITLESS: u64 = 10_000_000;

/// Samples of an AAC packet.
const AAC_FRAME: u64 = 1024;

/// Uncompressed or companded samples.
const PCM: [AudioCodecId; 14] = [
    CODEC_ID_PCM_ALAW,
    CODEC_ID_PCM_F32BE,
    CODEC_ID_PCM_F32LE,
    CODEC_ID_PCM_F64BE,
    CODEC_ID_PCM_F64LE,
    CODEC_ID_PCM_MULAW,
    CODEC_ID_PCM_S16BE,
    CODEC_ID_PCM_S16LE,
    CODEC_ID_PCM_S24BE,
    CODEC_ID_PCM_S24LE,
    CODEC_ID_PCM_S32BE,
    CODEC_ID_PCM_S32LE,
    CODEC_ID_PCM_S8,
    CODEC_ID_PCM_U8,
];

/// Runs a demuxer or decoder; its panic becomes an error of the file at hand.
pub(super) fn guarded<T>(doing: &'static str, call: impl FnOnce() -> T) -> Result<T, AudioError> {
    // Unwind safety: after a panic the reader is dropped and never used again.
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| AudioError::Crashed { doing, message: panic_message(panic.as_ref()) })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Why no packet follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// The container says so.
    Regular,
    /// The bytes end, or make no sense from here on.
    Broken { reason: String },
}

/// What to do next with a container.
pub(super) enum Next {
    Packet(Packet),
    /// A new logical stream begins and a new decoder is needed.
    Restart,
    End(End),
}

/// An audio track of an open container.
pub(super) struct Packets {
    supply: Supply,
    track: u32,
    /// The input, without what lies before the audio.
    bytes: Bytes,
    /// The next packet, read ahead where the last one of a stream is treated apart.
    ahead: Option<Next>,
    format: Format,
    /// Time and bytes of the first packet, once it was read.
    first: Option<(i64, Box<[u8]>)>,
}

/// Where packets come from.
enum Supply {
    Container(Box<dyn FormatReader>),
    Frames(Box<Frames>),
    Adts { frames: Box<adts::Frames>, next: Option<adts::Frame> },
}

/// What the container says about the track.
#[derive(Clone, Debug, Default)]
pub(super) struct TrackFacts {
    /// Number of samples per channel, at `rate_hz`.
    pub(super) frames: Option<u64>,
    pub(super) rate_hz: Option<u32>,
    /// Samples that an encoder put before and after the music.
    pub(super) delay: Option<u32>,
    pub(super) padding: Option<u32>,
    /// Bare MPEG audio: frames one after the other. Its stated length may be an estimate.
    pub(super) is_bare_mpeg: bool,
    /// The sum of its packets' durations is exact, and its stated length is not.
    pub(super) counts_exactly: bool,
    pub(super) is_mp3: bool,
    pub(super) is_adts: bool,
    /// Seconds of audio that the header states, where the file ends before that.
    pub(super) stated_s: Option<f64>,
    /// 16-bit integers, among which a DTS stream may hide.
    pub(super) is_pcm16: bool,
    /// Units of its packets' times in a second.
    pub(super) units_per_s: Option<f64>,
    /// How to pass over the start of the track, and the samples to decode before a place.
    pub(super) passing: Option<(Passing, u64)>,
    /// Its packets' times are counted in samples at this rate, in Hz.
    pub(super) time_hz: Option<u32>,
}

impl TrackFacts {
    /// Number of samples that a packet decodes to.
    pub(super) fn frames_of(&self, packet: &Packet) -> u64 {
        match self.passing {
            // Bare MPEG audio is not trimmed by its decoder. What its packets say of trimming differs between
            // versions of symphonia; their headers do not.
            _ if self.is_bare_mpeg => frame_samples(&packet.data),
            Some((Passing::Count { block: Some(block) }, _)) => {
                block.saturating_sub(packet.trim_start.get() + packet.trim_end.get())
            }
            _ => packet.dur.get(),
        }
    }

    /// Time of a packet's first sample.
    pub(super) fn time_of(&self, packet: &Packet) -> i64 {
        let trimmed = if self.is_bare_mpeg { 0 } else { packet.trim_start.get() as i64 };
        packet.pts.get() + trimmed
    }
}

impl Packets {
    /// Recognises the container by its content and picks the first audio track that can be decoded.
    pub(super) fn open(file: File, mode: DecoderMode) -> Result<(Packets, Codec, TrackFacts), AudioError> {
        let whole = Bytes::new(file).map_err(AudioError::Io)?;
        let detected = detect(&whole).map_err(AudioError::Io)?;
        match detected.format {
            Format::External(name) => return Err(AudioError::UnknownFormat { reason: name.into() }),
            Format::Unknown => {
                let reason = "neither a known magic number nor frames of MPEG audio or AAC".into();
                return Err(AudioError::UnknownFormat { reason });
            }
            _ => {}
        }
        let bytes = whole.skipping(detected.start);
        let repair = repair(&bytes, detected.format).map_err(AudioError::Io)?;
        if repair.is_protected {
            return Err(AudioError::Protected);
        }
        if detected.format == Format::Adts {
            return Packets::open_adts(bytes);
        }
        let bytes = bytes.patched(repair.patches.clone());
        guarded("reading the header", move || {
            let source = Box::new(bytes.clone());
            let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
            let format = symphonia::default::get_probe()
                .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
                .map_err(|error| match error {
                    Error::Unsupported(reason) => AudioError::UnknownFormat { reason: reason.into() },
                    Error::IoError(error) if error.raw_os_error().is_some() => AudioError::Io(error),
                    error => AudioError::Damaged { reason: error.to_string() },
                })?;
            let (track, codec, facts) = choose(&*format, mode, &repair)?;
            Ok((Packets::new(Supply::Container(format), track, bytes, detected.format), codec, facts))
        })?
    }

    fn new(supply: Supply, track: u32, bytes: Bytes, format: Format) -> Packets {
        Packets { supply, track, bytes, ahead: None, format, first: None }
    }

    fn open_adts(bytes: Bytes) -> Result<(Packets, Codec, TrackFacts), AudioError> {
        let mut frames = adts::Frames::new(&bytes);
        let Some(frame) = frames.next().map_err(AudioError::Io)? else {
            return Err(AudioError::Damaged { reason: "no whole ADTS frame".into() });
        };
        let facts = TrackFacts {
            rate_hz: Some(frame.kind.rate_hz),
            counts_exactly: true,
            is_adts: true,
            passing: passing(FORMAT_ID_ADTS, CODEC_ID_AAC),
            time_hz: Some(frame.kind.rate_hz),
            ..TrackFacts::default()
        };
        let codec = adts_codec(frame.kind)?;
        let supply = Supply::Adts { frames: Box::new(frames), next: Some(frame) };
        Ok((Packets::new(supply, 0, bytes, Format::Adts), codec, facts))
    }

    /// The input, without what lies before the audio.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn is_ogg(&self) -> bool {
        self.format == Format::Ogg
    }

    /// Format of the input.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The number of samples of a bare MP3 track whose frames are regular; its packets then come
    /// from there, from the one at `time` on. `None`, and nothing has changed, where they are not.
    ///
    /// # Errors
    /// [`AudioError::Stopped`].
    pub(super) fn index(&mut self, time: i64, pulse: &Pulse) -> Result<Option<u64>, AudioError> {
        let Some((first_time, first)) = &self.first else { return Ok(None) };
        let Some(index) = Index::of(&self.bytes, first, pulse)? else { return Ok(None) };
        let samples = index.samples();
        let Ok(frames) = Frames::new(self.bytes.rewound(), index, *first_time, time) else { return Ok(None) };
        self.supply = Supply::Frames(Box::new(frames));
        Ok(Some(samples))
    }

    /// A decoder for the track that follows a [`Next::Restart`].
    pub(super) fn restart(&mut self, mode: DecoderMode) -> Result<Option<Codec>, AudioError> {
        let format = match &self.supply {
            Supply::Container(format) => format,
            Supply::Adts { next: Some(frame), .. } => return adts_codec(frame.kind).map(Some),
            Supply::Frames(_) | Supply::Adts { .. } => return Ok(None),
        };
        let (track, codec, _) =
            guarded("reading the next stream's header", || choose(&**format, mode, &Repair::default()))??;
        self.track = track;
        Ok(Some(codec))
    }

    /// Goes to the packet at `time`, or one before it.
    pub(super) fn seek(&mut self, time: i64) -> Result<bool, AudioError> {
        self.ahead = None;
        match &mut self.supply {
            Supply::Container(format) => {
                let to = SeekTo::Timestamp { ts: Timestamp::new(time), track_id: self.track };
                Ok(guarded("seeking", || format.seek(SeekMode::Accurate, to))?.is_ok())
            }
            Supply::Frames(frames) => Ok(frames.seek(time).is_ok()),
            Supply::Adts { frames, next } => {
                let wanted = time.max(0) as u64 / adts::FRAME_SAMPLES;
                *next = None;
                Ok(frames.go_to(wanted).unwrap_or(false))
            }
        }
    }

    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Result<Next, AudioError> {
        let mut next = match self.ahead.take() {
            Some(next) => next,
            None => self.read()?,
        };
        if self.is_ogg()
            && let Next::Packet(packet) = &mut next
        {
            let ahead = self.read()?;
            // Pages of streams that were cut by copying state times of the uncut stream, by which samples in the
            // middle would be trimmed. The reference decoders trim the last packet only.
            if matches!(ahead, Next::Packet(_)) {
                packet.dur = packet.dur.saturating_add(packet.trim_end);
                packet.trim_end = SymphoniaDuration::ZERO;
            }
            self.ahead = Some(ahead);
        }
        if let (Next::Packet(packet), None) = (&next, &self.first) {
            self.first = Some((packet.pts.get(), packet.data.clone()));
        }
        Ok(next)
    }

    fn read(&mut self) -> Result<Next, AudioError> {
        let packet = match &mut self.supply {
            Supply::Container(format) => return next_of(&mut **format, self.track),
            Supply::Frames(frames) => frames.next(self.track),
            Supply::Adts { frames, next } => match next.take() {
                Some(frame) => Ok(Some(frame.packet)),
                None => match frames.next() {
                    Ok(Some(frame)) if frame.changed => {
                        *next = Some(frame);
                        return Ok(Next::Restart);
                    }
                    frame => frame.map(|frame| frame.map(|frame| frame.packet)),
                },
            },
        };
        match packet {
            Ok(Some(packet)) => Ok(Next::Packet(packet)),
            Ok(None) => Ok(Next::End(End::Regular)),
            Err(error) if error.raw_os_error().is_some() => Err(AudioError::Io(error)),
            Err(error) => Ok(Next::End(End::Broken { reason: error.to_string() })),
        }
    }
}

/// A decoder for ADTS frames of this kind.
fn adts_codec(kind: adts::Kind) -> Result<Codec, AudioError> {
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_AAC).with_sample_rate(kind.rate_hz);
    let channels = if kind.channels == 7 { 8 } else { u16::from(kind.channels) };
    if channels > 0 {
        params.with_channels(Channels::Discrete(channels));
    }
    match symphonia::default::get_codecs().make_audio_decoder(&params, &AudioDecoderOptions::default()) {
        Ok(decoder) => Ok(Codec::new(decoder, None)),
        Err(Error::Unsupported(reason)) => Err(AudioError::UnknownCodec { codec: format!("AAC: {reason}") }),
        Err(error) => Err(AudioError::Damaged { reason: error.to_string() }),
    }
}

/// The next packet of a track in a container.
fn next_of(format: &mut dyn FormatReader, track: u32) -> Result<Next, AudioError> {
    for _packet in 0..MAX_FRUITLESS {
        match guarded("reading a packet", || format.next_packet())? {
            Ok(Some(packet)) if packet.track_id == track => return Ok(Next::Packet(packet)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Next::End(End::Regular)),
            Err(Error::ResetRequired) => return Ok(Next::Restart),
            Err(Error::IoError(error)) if error.raw_os_error().is_some() => {
                return Err(AudioError::Io(error));
            }
            Err(Error::IoError(error)) if error.kind() == UnexpectedEof => {
                return Ok(Next::End(End::Broken { reason: "it ends inside a packet".into() }));
            }
            Err(error) => return Ok(Next::End(End::Broken { reason: error.to_string() })),
        }
    }
    Ok(Next::End(End::Broken { reason: format!("{MAX_FRUITLESS} packets of other tracks") }))
}

/// The first audio track that has a decoder.
fn choose(
    reader: &dyn FormatReader,
    mode: DecoderMode,
    repair: &Repair,
) -> Result<(u32, Codec, TrackFacts), AudioError> {
    let format = reader.format_info().format;
    let is_bare_mpeg = [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&format);
    let mut failure = AudioError::NoAudioTrack { tracks: reader.tracks().len() };
    for track in reader.tracks() {
        let Some(params) = track.codec_params.as_ref().and_then(|params| params.audio()) else {
            continue;
        };
        let params = &in_byte_order(params, repair.big_endian);
        let is_mpeg = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3].contains(&params.codec);
        // Bare MPEG streams are trimmed by `Decoder`: symphonia would cut them at an estimated end.
        let keep_all = is_bare_mpeg || (is_mpeg && mode == DecoderMode::Original);
        let options = AudioDecoderOptions::default().gapless(!keep_all);
        match symphonia::default::get_codecs().make_audio_decoder(params, &options) {
            Ok(decoder) => {
                let facts = TrackFacts {
                    is_bare_mpeg,
                    counts_exactly: is_bare_mpeg || format == FORMAT_ID_ADTS,
                    is_mp3: params.codec == CODEC_ID_MP3,
                    passing: passing(format, params.codec),
                    stated_s: repair.stated_s,
                    is_pcm16: params.codec == CODEC_ID_FLAC
                        || [CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S16BE].contains(&params.codec),
                    units_per_s: track
                        .time_base
                        .map(|base| f64::from(base.denom.get()) / f64::from(base.numer.get())),
                    ..facts(track, params.sample_rate)
                };
                // The original's decoder rounds, so that the last bit shows: symphonia's then decides alone.
                let faster = facts.is_mp3 && is_bare_mpeg && mode == DecoderMode::Plain;
                let codec = Codec::new(decoder, faster.then(Mp3::new));
                let codec = if is_mpeg { codec.renewed_by(params.clone(), options) } else { codec };
                return Ok((track.id, codec, facts));
            }
            Err(Error::Unsupported(_)) if matches!(failure, AudioError::NoAudioTrack { .. }) => {
                failure = AudioError::UnknownCodec { codec: codec_name(params.codec) };
            }
            Err(Error::Unsupported(_)) => {}
            Err(error) => failure = AudioError::Damaged { reason: error.to_string() },
        }
    }
    Err(failure)
}

/// Parameters with the byte order that the file states: symphonia takes PCM of QuickTime for little-endian.
fn in_byte_order(params: &AudioCodecParameters, big_endian: bool) -> AudioCodecParameters {
    let mut params = params.clone();
    if big_endian {
        params.codec = match params.codec {
            CODEC_ID_PCM_S24LE => CODEC_ID_PCM_S24BE,
            CODEC_ID_PCM_S32LE => CODEC_ID_PCM_S32BE,
            CODEC_ID_PCM_F32LE => CODEC_ID_PCM_F32BE,
            CODEC_ID_PCM_F64LE => CODEC_ID_PCM_F64BE,
            codec => codec,
        };
    }
    params
}

/// How to get to a place in a track without decoding what lies before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Passing {
    /// The reader seeks: its packets' times count samples, whatever was written before them.
    Seek,
    /// Packets are read and dropped, and their samples counted: where a file was cut or joined, the times that
    /// its container states have gaps and the samples have none. So many samples each, or as many as they
    /// last.
    Count { block: Option<u64> },
}

/// Where places can be told to the sample: how, and the samples that must be decoded before a place for those
/// from there on to be right. Held against decoding through by tests/seeking.rs.
fn passing(format: FormatId, codec: AudioCodecId) -> Option<(Passing, u64)> {
    let seeks = [
        FORMAT_ID_ADTS,
        FORMAT_ID_AIFF,
        FORMAT_ID_CAF,
        FORMAT_ID_FLAC,
        FORMAT_ID_MP1,
        FORMAT_ID_MP2,
        FORMAT_ID_MP3,
        FORMAT_ID_WAVE,
    ];
    let passing = match format {
        FORMAT_ID_ISOMP4 | FORMAT_ID_OGG => {
            Passing::Count { block: (codec == CODEC_ID_AAC).then_some(AAC_FRAME) }
        }
        format if seeks.contains(&format) => Passing::Seek,
        // The times of Matroska are rounded to milliseconds, and its packets' durations to nothing better.
        _ => return None,
    };
    let warm_up = match codec {
        codec if PCM.contains(&codec) => 0,
        CODEC_ID_FLAC | CODEC_ID_ALAC => 2 * 4608,
        // The filter bank remembers the packet before.
        CODEC_ID_AAC => 4 * AAC_FRAME,
        CODEC_ID_VORBIS => 3 * 8192,
        // The filter bank remembers two frames; the bits of a frame may begin 511 bytes before it.
        CODEC_ID_MP1 | CODEC_ID_MP2 => 4 * 1152,
        CODEC_ID_MP3 => 16 * 1152,
        _ => return None,
    };
    Some((passing, warm_up))
}

fn facts(track: &Track, rate_hz: Option<u32>) -> TrackFacts {
    TrackFacts {
        frames: track.num_frames,
        rate_hz,
        delay: track.delay,
        padding: track.padding,
        time_hz: track.time_base.filter(|base| base.numer.get() == 1).map(|base| base.denom.get()),
        ..TrackFacts::default()
    }
}

fn codec_name(codec: AudioCodecId) -> String {
    let known = [
        (CODEC_ID_OPUS, "Opus"),
        (CODEC_ID_SPEEX, "Speex"),
        (CODEC_ID_AC3, "AC-3"),
        (CODEC_ID_EAC3, "E-AC-3"),
        (CODEC_ID_WMA, "WMA"),
        (CODEC_ID_WAVPACK, "WavPack"),
        (CODEC_ID_MUSEPACK, "Musepack"),
    ];
    match known.iter().find(|(id, _)| *id == codec) {
        Some((_, name)) => (*name).into(),
        None => format!("codec {codec}"),
    }
}
