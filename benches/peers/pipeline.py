"""tagwave's decode side beside what a Python user would run, on one folder, in turn.

    python benches/peers/pipeline.py FOLDER [--rounds 3] [--workers 2] [--tagwave target/release/tagwave]

plain: librosa.load of the whole file at 12 kHz, and its mel spectrogram. tuned: the middle 29.12 s by seeking
(soundfile, else PyAV), soxr HQ, a mel spectrogram in NumPy. tagwave: decode, downmix and its exact resampler; its mel
belongs to the model. Milliseconds a track are summed over the workers; start-up is not timed.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # the processes are the parallelism

import numpy as np

RATE, SECONDS, N_FFT, HOP, MELS = 12000, 29.12, 512, 256, 96
ENDINGS = (".mp3", ".flac", ".ogg", ".m4a", ".wav")


def middle_soundfile(path):
    import soundfile

    with soundfile.SoundFile(path) as file:
        wanted = int(np.ceil((SECONDS + 0.05) * file.samplerate))
        if file.frames > wanted:
            file.seek((file.frames - wanted) // 2)
        return file.read(wanted, dtype="float32", always_2d=True), file.samplerate


def middle_av(path):
    import av

    with av.open(path) as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        start = max(0.0, (float(stream.duration * stream.time_base) - SECONDS) / 2)
        container.seek(int(start / stream.time_base), stream=stream)
        blocks, count = [], 0
        for frame in container.decode(stream):
            if frame.time + frame.samples / rate < start:
                continue
            blocks.append(frame.to_ndarray().T)
            count += frame.samples
            if count >= (SECONDS + 0.1) * rate:
                break
    return np.concatenate(blocks), rate


class Tuned:
    def __init__(self):
        import librosa

        self.filters = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS).astype(np.float32)
        self.window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)

    def __call__(self, path):
        import soxr
        from scipy.fft import rfft

        start = time.perf_counter()
        try:
            samples, rate = middle_soundfile(path)
        except Exception:  # not a format of libsndfile
            samples, rate = middle_av(path)
        mono = samples[:, 0] if samples.shape[1] == 1 else (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
        decoded = time.perf_counter()
        mono = soxr.resample(mono, rate, RATE, quality="HQ")
        resampled = time.perf_counter()
        padded = np.pad(mono[: int(RATE * SECONDS)], N_FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
        spectrum = rfft(frames * self.window, axis=1)
        mel = self.filters @ (spectrum.real**2 + spectrum.imag**2).T
        decibels = 10 * np.log10(np.maximum(mel * mel, 1e-10))
        np.maximum(decibels, decibels.max() - 80.0)
        return decoded - start, resampled - decoded, time.perf_counter() - resampled


class Plain:
    def __init__(self):
        warnings.simplefilter("ignore")  # librosa's, about the second decoder that it falls back to

    def __call__(self, path):
        import librosa

        start = time.perf_counter()
        samples, _ = librosa.load(path, sr=RATE)
        decoded = time.perf_counter()
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS)
        librosa.power_to_db(mel**2)
        return decoded - start, 0.0, time.perf_counter() - decoded


STYLES = {"plain": Plain, "tuned": Tuned}
_run = None


def _begin(style, warm):
    global _run
    _run = STYLES[style]()
    for path in warm:  # lazy imports, plans, codecs
        _run(path)


def _one(path):
    return _run(path)


def python(style, files, workers):
    warm = list({os.path.splitext(path)[1]: path for path in files}.values())
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (style, warm)) as pool:
        pool.map(_one_sleep, range(workers))
        start = time.perf_counter()
        times = np.array(pool.map(_one, files, chunksize=1))
        seconds = time.perf_counter() - start
    decode, resample, mel = 1e3 * times.mean(axis=0)
    return {"tracks/s": len(files) / seconds, "decode": decode, "resample": resample, "mel": mel}


def _one_sleep(_):
    time.sleep(0.2)  # every worker has begun once all have slept


def tagwave(command, folder, workers):
    arguments = [command, "bench", "pipeline", folder, "--device", "none", "--json", "--decode-threads", str(workers)]
    found = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)
    stages = found["ms_per_track"]
    return {"tracks/s": found["tracks_per_s"], "decode": stages["decode"], "resample": stages["resample"], "mel": 0.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tagwave", default="target/release/tagwave")
    parser.add_argument("--csv", help="where to keep the figures")
    arguments = parser.parse_args()
    walk = os.walk(arguments.folder)
    files = sorted(os.path.join(at, name) for at, _, names in walk for name in names if name.endswith(ENDINGS))
    runs = {"tagwave": [], "tuned": [], "plain": []}
    for _ in range(arguments.rounds):
        runs["tagwave"].append(tagwave(arguments.tagwave, arguments.folder, arguments.workers))
        for style in STYLES:
            runs[style].append(python(style, files, arguments.workers))
    lines = ["engine,workers,files,tracks_per_s,decode_ms,resample_ms,mel_ms"]
    for name, rounds in runs.items():
        middle = {key: statistics.median(run[key] for run in rounds) for key in rounds[0]}
        values = ",".join(f"{middle[key]:.2f}" for key in ("tracks/s", "decode", "resample", "mel"))
        lines.append(f"{name},{arguments.workers},{len(files)},{values}")
    print("\n".join(lines))
    if arguments.csv:
        with open(arguments.csv, "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
