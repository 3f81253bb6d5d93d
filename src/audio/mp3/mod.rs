//! MP3 (Layer III) decoder that decodes what a model hears: a bandwidth, and the mean of the channels.
//!
//! From ISO 11172-3 (MPEG-1) and 13818-3 (MPEG-2); MPEG-2.5 has lower rates and is otherwise MPEG-2.
//!
//! | step | file | at a limited bandwidth, in mono |
//! |---|---|---|
//! | header, side information | `header`, `side` | whole |
//! | scale factors, Huffman codes | `scale`, `huffman`, `codes` | up to the last line of the highest subband; the next granule's place is known. In frames with middle and side the side channel is skipped |
//! | scaling | `scale` | these lines |
//! | joint stereo, mean | `stereo`, `decoder` | the mean of the lines where both channels have the same block, else of the transforms |
//! | alias reduction, inverse MDCT | `filterbank` | the lower subbands, of one channel |
//! | polyphase synthesis | `filterbank` | one channel; every second sample where the band allows it |
//!
//! The channels are mixed as soon as what follows is linear. [`Bandwidth`] has the rule of the subbands.
//!
//! A frame with a fault is an error ([`FrameError`]): the caller then decodes with another decoder. Faults in what is
//! not read are not found. A granule whose data is missing, at the start of a cut file, is silent.

mod bandwidth;
mod bits;
mod codes;
mod decoder;
mod filterbank;
mod header;
mod huffman;
mod scale;
mod side;
mod stereo;
mod tables;

pub(super) use decoder::Layer3Decoder;

/// Reason to refuse a frame.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("no Layer III header")]
    Header,
    #[error("the frame ends in its side information")]
    Short,
    #[error("a reserved value in the side information")]
    SideInfo,
    #[error("the codes do not end where the side information says")]
    Overrun,
    #[error("a change of the sample rate")]
    RateChange,
}
