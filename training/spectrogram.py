"""tagwave's log-mel spectrogram in NumPy, for whole tracks: what the student hears while it learns.

12 kHz mono, reflect padding of 256 samples, periodic Hann of 512, hop 256, 96 Slaney bands from 0 to 6000 Hz,
band power squared, in dB with a floor of 1e-10; the floor of 80 dB under a clip's maximum is per clip, so it
is taken when a clip is cut.
"""

import numpy as np

RATE, N_FFT, HOP, N_MELS = 12000, 512, 256, 96
CLIP_SAMPLES, CLIP_FRAMES, PAD_FRAMES = 349440, 1366, 37


def mel_filters():
    """Triangles of equal area on Slaney's mel scale (Auditory Toolbox, 1998), [96, 257]."""
    def hz(mel):
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    highest = 15 + np.log(RATE / 2 / 1000) * 27 / np.log(6.4)
    edges = hz(np.linspace(0, highest, N_MELS + 2))
    bins = np.linspace(0, RATE / 2, N_FFT // 2 + 1)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]


FILTERS = mel_filters().astype(np.float32)
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def log_mel(samples):
    """[S] samples to [frames, 96] dB; a track shorter than a clip is filled up with zeros."""
    samples = np.pad(samples, (0, max(0, CLIP_SAMPLES - len(samples))))
    padded = np.pad(samples, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    rows = []
    for first in range(0, len(frames), 4096):
        spectrum = np.fft.rfft(frames[first:first + 4096] * WINDOW)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ FILTERS.T
        rows.append(10 * np.log10(np.maximum(1e-10, power**2)))
    return np.concatenate(rows)
