//! Samples of a buffer as the stream takes them.

use std::borrow::Cow;

use gst_audio::{AudioFormat, AudioInfo, AudioLayout, AudioMeta};
use tagwave::tagger::StreamInput;

/// Samples of one buffer.
pub(crate) enum Samples<'a> {
    Floats(Cow<'a, [f32]>),
    Integers(Cow<'a, [i16]>),
    /// One slice per channel.
    Planes(Vec<Cow<'a, [f32]>>),
}

impl<'a> Samples<'a> {
    /// The samples of a buffer whose bytes are `bytes`; `None` if they are not of the format `info`.
    pub(crate) fn new(buffer: &gst::BufferRef, bytes: &'a [u8], info: &AudioInfo) -> Option<Samples<'a>> {
        if info.layout() == AudioLayout::Interleaved {
            return match info.format() {
                gst_audio::AUDIO_FORMAT_F32 => Some(Samples::Floats(cast(bytes))),
                gst_audio::AUDIO_FORMAT_S16 => Some(Samples::Integers(cast(bytes))),
                _ => None,
            };
        }
        let meta = buffer.meta::<AudioMeta>()?;
        let offsets = Some(meta.offsets()).filter(|offsets| offsets.len() == info.channels() as usize)?;
        let length = meta.samples().checked_mul(size_of::<f32>())?;
        let plane = |&offset: &usize| Some(cast(bytes.get(offset..)?.get(..length)?));
        let is_planar = info.format() == gst_audio::AUDIO_FORMAT_F32;
        is_planar.then(|| offsets.iter().map(plane).collect::<Option<_>>().map(Samples::Planes)).flatten()
    }

    /// Pushes `count` frames from frame `first` on, and returns the number that was taken.
    pub(crate) fn push(&self, input: &mut StreamInput, channels: usize, first: usize, count: usize) -> usize {
        let interleaved = first * channels..(first + count) * channels;
        match self {
            Samples::Floats(samples) => input.push_interleaved(&samples[interleaved]),
            Samples::Integers(samples) => input.push_interleaved_i16(&samples[interleaved]),
            Samples::Planes(planes) => {
                let planes: Vec<&[f32]> = planes.iter().map(|plane| &plane[first..first + count]).collect();
                input.push_planar(&planes)
            }
        }
    }

    /// Number of whole frames.
    pub(crate) fn frames(&self, channels: usize) -> usize {
        match self {
            Samples::Floats(samples) => samples.len() / channels,
            Samples::Integers(samples) => samples.len() / channels,
            Samples::Planes(planes) => planes.first().map_or(0, |plane| plane.len()),
        }
    }
}

/// Bytes as samples, copied if they are not aligned.
fn cast<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Cow<'_, [T]> {
    let bytes = &bytes[..bytes.len() / size_of::<T>() * size_of::<T>()];
    match bytemuck::try_cast_slice(bytes) {
        Ok(samples) => Cow::Borrowed(samples),
        Err(_) => {
            let values = bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned);
            Cow::Owned(values.collect())
        }
    }
}

/// Formats of the pads: all that streams take.
pub(crate) fn caps() -> gst::Caps {
    let rates = *tagwave::audio::RATES_HZ.start() as i32..=*tagwave::audio::RATES_HZ.end() as i32;
    let caps = |layout, formats: &[AudioFormat]| {
        gst_audio::AudioCapsBuilder::new()
            .layout(layout)
            .format_list(formats.iter().copied())
            .rate_range(rates.clone())
            .channels_range(1..=tagwave::audio::MAX_CHANNELS as i32)
            .build()
    };
    let mut all = caps(AudioLayout::Interleaved, &[gst_audio::AUDIO_FORMAT_F32, gst_audio::AUDIO_FORMAT_S16]);
    all.merge(caps(AudioLayout::NonInterleaved, &[gst_audio::AUDIO_FORMAT_F32]));
    all
}
