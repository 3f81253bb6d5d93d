//! Limits of the input.

/// Supported sample rates in Hz. Lower rates hold no music and make the resampling ratio very large; no recorder
/// uses higher ones.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Maximum number of channels that are mixed to mono.
pub const MAX_CHANNELS: usize = 64;

/// Maximum size of a temporary copy of a reader: more than ten hours of 24-bit stereo at 96 kHz, but an endless pipe
/// does not fill the disk.
pub(super) const SPOOL_LIMIT_BYTES: u64 = 32 << 30;
