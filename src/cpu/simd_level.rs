//! SIMD levels.

use pulp::Arch;

use super::CpuError;

/// SIMD instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SimdLevel {
    /// Scalar code, for any CPU.
    Scalar,
    /// NEON on 64-bit ARM: 4 lanes of f32.
    Neon,
    /// SIMD128 of WebAssembly, if it is built with it: 4 lanes of f32.
    Simd128,
    /// AVX2 and FMA (x86-64-v3): 8 lanes of f32.
    Avx2,
    /// AVX-512 (x86-64-v4): 16 lanes of f32.
    Avx512,
}

impl SimdLevel {
    /// Name in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            SimdLevel::Scalar => "scalar",
            SimdLevel::Neon => "neon",
            SimdLevel::Simd128 => "simd128",
            SimdLevel::Avx2 => "avx2",
            SimdLevel::Avx512 => "avx512",
        }
    }

    /// Levels that this CPU supports, widest first.
    pub fn available() -> Vec<SimdLevel> {
        let all =
            [SimdLevel::Avx512, SimdLevel::Avx2, SimdLevel::Neon, SimdLevel::Simd128, SimdLevel::Scalar];
        all.into_iter().filter(|simd_level| simd_level.arch().is_ok()).collect()
    }

    /// The pulp architecture of this level, if the CPU supports it.
    pub(super) fn arch(self) -> Result<Arch, CpuError> {
        let arch = match self {
            SimdLevel::Scalar => Some(Arch::Scalar),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            SimdLevel::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            SimdLevel::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "aarch64")]
            SimdLevel::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            #[cfg(target_arch = "wasm32")]
            SimdLevel::Simd128 => pulp::wasm::Simd128::try_new().map(Arch::Simd128),
            #[allow(unreachable_patterns, reason = "which ones are left depends on the target")]
            _ => None,
        };
        arch.ok_or(CpuError::SimdLevel { wanted: self.as_str() })
    }
}
