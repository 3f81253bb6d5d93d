//! Synthetic audio and WAV files.

use std::f64::consts::TAU;

/// Deterministic random numbers: the linear congruential generator with the constants of Numerical Recipes.
pub struct Random(pub u32);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    /// A number in 0..1.
    pub fn fraction(&mut self) -> f64 {
        f64::from(self.bits()) / 4_294_967_296.0
    }

    /// Noise in -0.5..0.5.
    pub fn noise(&mut self) -> f64 {
        self.fraction() - 0.5
    }
}

/// Sine of amplitude 0.5.
pub fn tone(count: usize, rate_hz: u32, hz: f64) -> Vec<f32> {
    (0..count).map(|i| (0.5 * (TAU * hz * i as f64 / f64::from(rate_hz)).sin()) as f32).collect()
}

/// Sample format of a WAV file.
#[derive(Clone, Copy)]
pub struct WavFormat {
    /// 1 for integers, 3 for floats.
    pub tag: u16,
    pub channels: u16,
    pub rate_hz: u32,
    pub bits: u16,
}

impl WavFormat {
    pub fn i16(channels: u16, rate_hz: u32) -> WavFormat {
        WavFormat { tag: 1, channels, rate_hz, bits: 16 }
    }

    pub fn f32(channels: u16, rate_hz: u32) -> WavFormat {
        WavFormat { tag: 3, channels, rate_hz, bits: 32 }
    }

    /// A WAV file.
    pub fn file(self, data: &[u8]) -> Vec<u8> {
        self.file_of_stated_size(data, data.len() as u32)
    }

    /// A WAV file whose header states another size of the data.
    pub fn file_of_stated_size(self, data: &[u8], stated_bytes: u32) -> Vec<u8> {
        let WavFormat { tag, channels, rate_hz, bits } = self;
        let align = channels * bits / 8;
        let mut file = b"RIFF".to_vec();
        file.extend(stated_bytes.saturating_add(36).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0");
        file.extend([tag, channels].into_iter().flat_map(u16::to_le_bytes));
        file.extend([rate_hz, rate_hz * u32::from(align)].into_iter().flat_map(u32::to_le_bytes));
        file.extend([align, bits].into_iter().flat_map(u16::to_le_bytes));
        file.extend(b"data");
        file.extend(stated_bytes.to_le_bytes());
        file.extend(data);
        file
    }
}

/// WAV file of interleaved 16-bit samples.
pub fn wav_i16(channels: u16, rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    WavFormat::i16(channels, rate_hz).file(&data)
}

/// Mono WAV file of floats.
pub fn wav_f32(rate_hz: u32, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    WavFormat::f32(1, rate_hz).file(&data)
}
