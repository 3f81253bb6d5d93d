//! Which vector instructions are used.

use pulp::Arch;

use super::CpuError;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Instructions {
    /// None: any processor, slowly.
    Plain,
    /// Four numbers at a time on 64-bit ARM.
    Neon,
    /// Eight numbers at a time: x86-64-v3, AVX2 and FMA.
    Avx2,
    /// Sixteen numbers at a time: x86-64-v4, AVX-512.
    Avx512,
}

impl Instructions {
    /// The word used in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Instructions::Plain => "plain",
            Instructions::Neon => "neon",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        }
    }

    /// All that this processor has, the widest first.
    pub fn available() -> Vec<Instructions> {
        let all = [Instructions::Avx512, Instructions::Avx2, Instructions::Neon, Instructions::Plain];
        all.into_iter().filter(|instructions| instructions.arch().is_ok()).collect()
    }

    /// What runs them, if this processor has them.
    pub(super) fn arch(self) -> Result<Arch, CpuError> {
        let arch = match self {
            Instructions::Plain => Some(Arch::Scalar),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Instructions::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Instructions::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            #[allow(unreachable_patterns, reason = "which ones are left depends on the target")]
            _ => None,
        };
        arch.ok_or(CpuError::Instructions { wanted: self.as_str() })
    }
}
