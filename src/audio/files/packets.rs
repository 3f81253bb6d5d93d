//! Demuxing: finds the audio track of a container and yields its packets. Every call into a demuxer or decoder goes
//! through [`guarded`].

use std::any::Any;
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
use symphonia::core::formats::{self, FormatOptions, FormatReader, SeekTo, Track};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration as SymphoniaDuration, Timestamp};

use super::adts;
use super::bytes::Bytes;
use super::codec::Codec;
use super::detect::{InputFormat, detect};
use super::frames::{Mp3Frames, Mp3Index, frame_samples};
use super::mp3::FullMp3;
use super::repair::{Repair, repair};
use crate::audio::encoded::EncodedAudio;
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;
use crate::audio::request::DecoderMode;

/// Maximum number of consecutive packets of other tracks: hours of video frames, but not an endless loop.
const MAX_FRUITLESS: u64 = 10_000_000;

/// Samples of an AAC packet.
const AAC_FRAME: u64 = 1024;

/// Codecs of uncompressed or companded samples.
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

/// Runs a demuxer or decoder and turns a panic into [`AudioError::Crashed`].
pub(super) fn guarded<T>(doing: &'static str, call: impl FnOnce() -> T) -> Result<T, AudioError> {
    // Unwind safety: after a panic the reader is dropped.
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| AudioError::Crashed { doing, message: panic_message(panic.as_ref()) })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Reason for the end of a stream of packets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// Regular end of the stream.
    Regular,
    /// The file is truncated, or damaged from here on.
    Broken { reason: String },
}

/// Next event of a container.
pub(super) enum Next {
    Packet(Packet),
    /// A new logical stream begins; it needs a new decoder.
    Restart,
    End(End),
}

/// An audio track of an open container.
pub(super) struct Packets {
    input: PacketSource,
    track: u32,
    /// The input, without anything before the audio.
    bytes: Bytes,
    /// Look-ahead packet, for containers whose last packet is handled differently.
    ahead: Option<Next>,
    format: InputFormat,
    /// Time and data of the first packet, once it was read.
    first: Option<(i64, Box<[u8]>)>,
}

/// Source of packets: a demuxer, or an indexed file.
enum PacketSource {
    Container(Box<dyn FormatReader>),
    Mp3(Box<Mp3Frames>),
    Adts { frames: Box<adts::AdtsFrames>, next: Option<adts::AdtsFrame> },
}

/// Properties of the track, as the container states them.
#[derive(Clone, Debug, Default)]
pub(super) struct TrackFacts {
    /// Number of samples per channel, at `rate_hz`.
    pub(super) frames: Option<u64>,
    pub(super) rate_hz: Option<u32>,
    /// Encoder delay and padding in samples.
    pub(super) delay: Option<u32>,
    pub(super) padding: Option<u32>,
    /// MPEG audio without a container. Its stated length may be an estimate.
    pub(super) is_bare_mpeg: bool,
    /// The sum of the packets' durations is exact, the stated length is not.
    pub(super) counts_exactly: bool,
    pub(super) is_mp3: bool,
    pub(super) is_adts: bool,
    /// Stated length in seconds, if the file ends before that.
    pub(super) stated_s: Option<f64>,
    /// 16-bit integers, which may contain a DTS stream.
    pub(super) is_pcm16: bool,
    /// Time units of the packets per second.
    pub(super) units_per_s: Option<f64>,
    /// Skip method of this format and codec, and the number of samples to decode before a position.
    pub(super) skip_method: Option<(SkipMethod, u64)>,
    /// Rate in Hz of the packets' times, if they count samples.
    pub(super) time_hz: Option<u32>,
}

impl TrackFacts {
    /// Number of samples that a packet decodes to.
    pub(super) fn frames_of(&self, packet: &Packet) -> u64 {
        match self.skip_method {
            // MPEG audio without a container is not trimmed by its decoder, and the trimming that its packets state
            // differs between versions of symphonia; frame headers do not.
            _ if self.is_bare_mpeg => frame_samples(&packet.data),
            Some((SkipMethod::Count { block: Some(block) }, _)) => {
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
    /// Detects the container by its content and opens the first audio track that can be decoded.
    pub(super) fn open(
        input: EncodedAudio,
        mode: DecoderMode,
    ) -> Result<(Packets, Codec, TrackFacts), AudioError> {
        let whole = Bytes::new(input).map_err(AudioError::Io)?;
        let detected = detect(&whole).map_err(AudioError::Io)?;
        match detected.format {
            InputFormat::External(name) => return Err(AudioError::UnknownFormat { reason: name.into() }),
            InputFormat::Unknown => {
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
        if detected.format == InputFormat::Adts {
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
            let (track, codec, facts) = open_first_track(&*format, mode, &repair)?;
            Ok((Packets::new(PacketSource::Container(format), track, bytes, detected.format), codec, facts))
        })?
    }

    fn new(input: PacketSource, track: u32, bytes: Bytes, format: InputFormat) -> Packets {
        Packets { input, track, bytes, ahead: None, format, first: None }
    }

    fn open_adts(bytes: Bytes) -> Result<(Packets, Codec, TrackFacts), AudioError> {
        let mut frames = adts::AdtsFrames::new(&bytes);
        let Some(frame) = frames.next().map_err(AudioError::Io)? else {
            return Err(AudioError::Damaged { reason: "no whole ADTS frame".into() });
        };
        let facts = TrackFacts {
            rate_hz: Some(frame.kind.rate_hz),
            counts_exactly: true,
            is_adts: true,
            skip_method: skip_method(FORMAT_ID_ADTS, CODEC_ID_AAC),
            time_hz: Some(frame.kind.rate_hz),
            ..TrackFacts::default()
        };
        let codec = adts_codec(frame.kind)?;
        let input = PacketSource::Adts { frames: Box::new(frames), next: Some(frame) };
        Ok((Packets::new(input, 0, bytes, InputFormat::Adts), codec, facts))
    }

    /// The input, without anything before the audio.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn is_ogg(&self) -> bool {
        self.format == InputFormat::Ogg
    }

    /// Format of the input.
    pub(super) fn format(&self) -> InputFormat {
        self.format
    }

    /// Indexes a bare MP3 track with regular frames and returns its number of samples; packets then come from the
    /// index, from the one at `time` on. `None`, without a change, if the frames are not regular.
    ///
    /// # Errors
    /// [`AudioError::Cancelled`].
    pub(super) fn index(&mut self, time: i64, heartbeat: &Heartbeat) -> Result<Option<u64>, AudioError> {
        let Some((first_time, first)) = &self.first else { return Ok(None) };
        let Some(index) = Mp3Index::of(&self.bytes, first, heartbeat)? else { return Ok(None) };
        let samples = index.samples();
        let Ok(frames) = Mp3Frames::new(self.bytes.rewound(), index, *first_time, time) else {
            return Ok(None);
        };
        self.input = PacketSource::Mp3(Box::new(frames));
        Ok(Some(samples))
    }

    /// Makes a decoder for the track after a [`Next::Restart`].
    pub(super) fn restart(&mut self, mode: DecoderMode) -> Result<Option<Codec>, AudioError> {
        let format = match &self.input {
            PacketSource::Container(format) => format,
            PacketSource::Adts { next: Some(frame), .. } => return adts_codec(frame.kind).map(Some),
            PacketSource::Mp3(_) | PacketSource::Adts { .. } => return Ok(None),
        };
        let (track, codec, _) = guarded("reading the next stream's header", || {
            open_first_track(&**format, mode, &Repair::default())
        })??;
        self.track = track;
        Ok(Some(codec))
    }

    /// Seeks to the packet at `time`, or one before it.
    pub(super) fn seek(&mut self, time: i64) -> Result<bool, AudioError> {
        self.ahead = None;
        match &mut self.input {
            PacketSource::Container(format) => {
                let to = SeekTo::Timestamp { ts: Timestamp::new(time), track_id: self.track };
                Ok(guarded("seeking", || format.seek(formats::SeekMode::Accurate, to))?.is_ok())
            }
            PacketSource::Mp3(frames) => Ok(frames.seek(time).is_ok()),
            PacketSource::Adts { frames, next } => {
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
            // Pages of a stream that was cut without re-encoding state times of the uncut stream, by which samples in
            // the middle would be trimmed. The reference decoders trim the last packet only.
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
        let packet = match &mut self.input {
            PacketSource::Container(format) => return next_of(&mut **format, self.track),
            PacketSource::Mp3(frames) => frames.next(self.track),
            PacketSource::Adts { frames, next } => match next.take() {
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

/// Makes a decoder for ADTS frames with these parameters.
fn adts_codec(kind: adts::FrameParams) -> Result<Codec, AudioError> {
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

/// Reads the next packet of a track in a container.
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

/// Opens the first audio track that has a decoder.
fn open_first_track(
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
        // Bare MPEG audio is trimmed by `Decoder`: symphonia would cut it at an estimated end.
        let keep_all = is_bare_mpeg || (is_mpeg && mode == DecoderMode::Original);
        let options = AudioDecoderOptions::default().gapless(!keep_all);
        match symphonia::default::get_codecs().make_audio_decoder(params, &options) {
            Ok(decoder) => {
                let facts = TrackFacts {
                    is_bare_mpeg,
                    counts_exactly: is_bare_mpeg || format == FORMAT_ID_ADTS,
                    is_mp3: params.codec == CODEC_ID_MP3,
                    skip_method: skip_method(format, params.codec),
                    stated_s: repair.stated_s,
                    is_pcm16: params.codec == CODEC_ID_FLAC
                        || [CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S16BE].contains(&params.codec),
                    units_per_s: track
                        .time_base
                        .map(|base| f64::from(base.denom.get()) / f64::from(base.numer.get())),
                    ..facts(track, params.sample_rate)
                };
                // The original's decoder rounds to 16 bits, so the last bit matters: only symphonia's decoder is used.
                let faster = facts.is_mp3 && is_bare_mpeg && mode != DecoderMode::Original;
                let codec = Codec::new(decoder, faster.then(FullMp3::new));
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

/// Corrects the byte order of PCM in QuickTime, which symphonia takes for little-endian.
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

/// Method of reaching a position without decoding everything before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SkipMethod {
    /// Seek by time: the times of packets are exact in samples.
    Seek,
    /// Read packets, drop them and count their samples. Times may jump after an edit although the decoded samples are
    /// contiguous. Each packet has `block` samples, or its duration.
    Count { block: Option<u64> },
}

/// Skip method of a format and codec with sample-accurate positions, and the number of samples to decode before a
/// position until the decoder has settled. Checked against decoding everything by tests/seeking.rs.
fn skip_method(format: FormatId, codec: AudioCodecId) -> Option<(SkipMethod, u64)> {
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
    let skip_method = match format {
        FORMAT_ID_ISOMP4 | FORMAT_ID_OGG => {
            SkipMethod::Count { block: (codec == CODEC_ID_AAC).then_some(AAC_FRAME) }
        }
        format if seeks.contains(&format) => SkipMethod::Seek,
        // Times and durations in Matroska are rounded to milliseconds.
        _ => return None,
    };
    let warm_up = match codec {
        codec if PCM.contains(&codec) => 0,
        CODEC_ID_FLAC | CODEC_ID_ALAC => 2 * 4608,
        // The filter bank depends on the packet before.
        CODEC_ID_AAC => 4 * AAC_FRAME,
        CODEC_ID_VORBIS => 3 * 8192,
        // The filter bank depends on two frames; the bit reservoir reaches back 511 bytes.
        CODEC_ID_MP1 | CODEC_ID_MP2 => 4 * 1152,
        CODEC_ID_MP3 => 16 * 1152,
        _ => return None,
    };
    Some((skip_method, warm_up))
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
