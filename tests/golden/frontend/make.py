#!/usr/bin/env python3
"""Golden spectrogram of the synthetic clip (`tagwave::problems::synthetic_clip`), in NumPy float64.

    python3 tests/golden/frontend/make.py

Made with Python 3.11.7 and NumPy 2.4.6. The equations are those of librosa 0.4's melspectrogram with Slaney's
filters, as the original project called it: reflect padding, periodic Hann window of 512, hop 256, power, 96
area-normalised bands, squared, 10 log10, floored 80 dB below the maximum. Stored: 16,384 values of the
[96, 1366] spectrogram at the indices floor(k * 131136 / 16384), the first and last samples of the clip, the
sums of each filter and the filters' total.
"""
from pathlib import Path

import numpy as np

SAMPLES, N_FFT, HOP, BANDS, RATE = 349_440, 512, 256, 96, 12_000


def synthetic_clip():
    state, noise = 1, np.empty(SAMPLES)
    for n in range(SAMPLES):
        state = (1664525 * state + 1013904223) % 2**32
        noise[n] = state / 2**32 - 0.5
    t = np.arange(SAMPLES) / RATE
    chirp = 0.25 * np.sin(2 * np.pi * (200 * t + 30 * t * t))
    tone = 0.15 * np.sin(2 * np.pi * 440 * t) * (np.floor(2 * t) % 2 == 0)
    return chirp + tone + 0.3 * np.exp(-6 * np.mod(2 * t, 1)) * noise


def filters():
    step = np.log(6.4) / 27
    mel = lambda f: np.where(f < 1000, f * 3 / 200, 15 + np.log(np.maximum(f, 1) / 1000) / step)
    hz = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * step))
    edges = hz(np.linspace(mel(np.float64(0)), mel(np.float64(RATE / 2)), BANDS + 2))
    bins = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def spectrogram(clip):
    """[96, 1366] dB, floored 80 dB below the maximum."""
    padded = np.pad(clip, N_FFT // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    frames = np.stack([padded[start:start + N_FFT] for start in range(0, SAMPLES + 1, HOP)])
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    db = 10 * np.log10(np.maximum(1e-10, (filters() @ power.T) ** 2))
    return np.maximum(db, db.max() - 80)


def main():
    clip = synthetic_clip()
    db = spectrogram(clip).ravel()
    picked = np.arange(16_384) * db.size // 16_384
    np.savez_compressed(
        Path(__file__).parent / "synthetic.npz",
        mel=db[picked].astype(np.float32),
        head=clip[:512].astype(np.float32),
        tail=clip[-512:].astype(np.float32),
        filter_sums=filters().sum(1).astype(np.float32),
    )


if __name__ == "__main__":
    main()
