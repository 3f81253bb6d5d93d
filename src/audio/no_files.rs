//! Stand-in for `files` without the feature `decode`: no file can be opened, so no decoder exists.

use super::encoded::EncodedAudio;
use super::error::{AudioError, PositionLost};
use super::heartbeat::Heartbeat;
use super::level::MixPower;
use super::request::DecoderMode;
use super::source::SourceKind;
use super::spacing::Spacing;
use super::warning::Warning;

/// Decoder of a file; never constructed.
pub(super) enum Decoder {}

#[allow(clippy::unused_self, reason = "the signatures of `files::Decoder`")]
impl Decoder {
    pub(super) fn open(_: EncodedAudio, _: DecoderMode, _: u32) -> Result<Decoder, AudioError> {
        Err(AudioError::NoDecoder)
    }

    pub(super) fn skip_to(&mut self, _: u64) -> Result<Option<u64>, PositionLost> {
        match *self {}
    }

    pub(super) fn scan(&mut self, _: EncodedAudio, _: &Heartbeat) -> Result<(), AudioError> {
        match *self {}
    }

    pub(super) fn predominant_rate_hz(&self) -> Option<u32> {
        match *self {}
    }

    pub(super) fn restart_as(&mut self, _: &Decoder) -> Result<(), AudioError> {
        match *self {}
    }

    pub(super) fn power(&self) -> MixPower {
        match *self {}
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        match *self {}
    }

    pub(super) fn length_warning(&self, _: u64) -> Option<Warning> {
        match *self {}
    }

    pub(super) fn rate_hz(&self) -> u32 {
        match *self {}
    }

    pub(super) fn name(&self) -> &'static str {
        match *self {}
    }

    pub(super) fn stated_frames(&self) -> Option<u64> {
        match *self {}
    }

    pub(super) fn damaged(&self) -> u64 {
        match *self {}
    }

    pub(super) fn spacing(&self) -> Spacing {
        match *self {}
    }

    pub(super) fn is_limited(&self) -> bool {
        match *self {}
    }

    pub(super) fn span(&self) -> u64 {
        match *self {}
    }

    pub(super) fn next_block(&mut self, _: &mut Vec<f32>) -> Result<bool, AudioError> {
        match *self {}
    }
}

pub(super) fn count_frames(_: EncodedAudio, decoder: &Decoder, _: &Heartbeat) -> Result<u64, AudioError> {
    match *decoder {}
}

pub(super) fn decode_externally(
    _: &SourceKind,
    first: AudioError,
    _: &Heartbeat,
) -> Result<SourceKind, AudioError> {
    Err(first)
}
