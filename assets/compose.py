#!/usr/bin/env python3
"""Composes and renders demo.ogg: thirty-two seconds of music that belong to nobody else.

    python3 assets/compose.py        # needs NumPy, and ffmpeg with libvorbis

Four chords, a plucked arpeggio (Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres",
Computer Music Journal 7(2), 1983), a bass, soft chords of detuned saws, and drums; everything is a formula and
a seed. ffmpeg's encoder decides the file's bytes, so another version may give others.
"""
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RATE = 44100
BEAT = 60 / 120
BARS = 16
RNG = np.random.default_rng(7)
# A minor, F, C, G: as MIDI notes, the lowest first.
CHORDS = [(57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62)]
MELODY = [76, 74, 72, 69, 72, 74, 76, 79, 77, 76, 72, 69, 71, 72, 74, 71]


def hz(note):
    return 440 * 2 ** ((note - 69) / 12)


def time(seconds):
    return np.arange(int(seconds * RATE)) / RATE


def pluck(note, seconds, brightness=0.5):
    """A string: noise in a delay line that loses its high partials on every turn."""
    period = int(RATE / hz(note))
    line = RNG.uniform(-1, 1, period)
    out = np.empty(int(seconds * RATE))
    for start in range(0, len(out), period):
        part = out[start:start + period]
        part[:] = line[:len(part)]
        line = 0.996 * (brightness * line + (1 - brightness) * np.roll(line, 1))
    return out


def saws(notes, seconds):
    """A chord of three detuned saws a note, with few partials, that swells and fades."""
    t = time(seconds)
    out = np.zeros_like(t)
    for note in notes:
        for cents in (-7, 0, 7):
            f = hz(note + cents / 100)
            phase = RNG.uniform(0, 1)
            for k in range(1, 9):
                out += np.sin(2 * np.pi * k * (f * t + phase)) / k**1.6
    return out * np.minimum(1, np.minimum(t / 0.3, (seconds - t) / 0.4)) / 9


def bass(note, seconds):
    t = time(seconds)
    tone = sum(np.sin(2 * np.pi * k * hz(note) * t) / k**2 for k in (1, 2, 3))
    return tone * np.exp(-2.5 * t)


def kick():
    t = time(0.35)
    return np.sin(2 * np.pi * (48 * t + 9 * (1 - np.exp(-30 * t)))) * np.exp(-9 * t)


def snare():
    t = time(0.25)
    return (0.7 * RNG.normal(size=len(t)) * np.exp(-18 * t) + 0.5 * np.sin(2 * np.pi * 190 * t) * np.exp(-25 * t))


def hat(open_):
    t = time(0.2)
    noise = np.diff(RNG.normal(size=len(t)), 2, prepend=[0, 0])
    return 0.3 * noise * np.exp(-(15 if open_ else 60) * t)


def put(track, sound, beat, gain):
    start = int(beat * BEAT * RATE)
    part = track[start:start + len(sound)]
    part += gain * sound[:len(part)]


def main():
    seconds = BARS * 4 * BEAT
    names = ("pad", "arpeggio", "bass", "drums", "lead")
    tracks = {name: np.zeros(int(seconds * RATE)) for name in names}
    for bar in range(BARS):
        chord, first = CHORDS[bar % 4], 4 * bar
        put(tracks["pad"], saws(chord, 4 * BEAT), first, 0.5)
        for step in range(8):
            note = (*chord, chord[1] + 12)[(0, 1, 2, 3, 2, 1, 2, 3)[step]]
            put(tracks["arpeggio"], pluck(note + 12, 0.9), first + step / 2, 0.35)
        if bar >= 2:
            for beat, length in ((0, 1.4), (1.5, 0.5), (2, 1), (3, 0.5), (3.5, 0.5)):
                put(tracks["bass"], bass(chord[0] - 12, length * BEAT), first + beat, 0.5)
        if bar >= 4:
            for beat in (0, 1, 2, 3):
                put(tracks["drums"], kick(), first + beat, 0.8)
                put(tracks["drums"], hat(True), first + beat + 0.5, 0.25)
            for beat in (1, 3):
                put(tracks["drums"], snare(), first + beat, 0.35)
            for step in range(16):
                put(tracks["drums"], hat(False), first + step / 4, 0.12 + 0.08 * (step % 4 == 2))
        if bar >= 8:
            for half in range(2):
                put(tracks["lead"], pluck(MELODY[(2 * bar + half) % 16], 1.6, 0.7), first + 2 * half, 0.4)
    # Places in the room: left and right, from -1 to 1.
    places = {"pad": 0.0, "arpeggio": -0.5, "bass": 0.0, "drums": 0.1, "lead": 0.5}
    stereo = np.stack([sum(tracks[n] * np.sqrt((1 + side * places[n]) / 2) for n in names) for side in (-1, 1)])
    stereo *= np.minimum(1, (seconds - np.arange(stereo.shape[1]) / RATE) / 2)
    stereo = np.tanh(1.2 * stereo / np.abs(stereo).max())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((0.8 * 32767 * stereo.T).astype("<i2").tobytes())
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", path, "-c:a", "libvorbis", "-q:a", "2",
                   "-map_metadata", "-1", "-fflags", "+bitexact", "-metadata", "title=tagwave demo", HERE / "demo.ogg"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
