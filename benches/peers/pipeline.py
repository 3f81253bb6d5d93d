"""tagwave beside what a Python user would run, from the files of one folder, in turn.

    python benches/peers/pipeline.py FOLDER [--models none,crnn,small] [--engine openvino] [--styles tuned,plain]
                                     [--rounds 3] [--workers 2] [--tagwave target/release/tagwave] [--csv FILE]

plain: librosa.load of the whole file at 12 kHz, and its mel spectrogram. tuned: the middle 29.12 s by seeking
(soundfile, else PyAV), soxr HQ, a mel spectrogram in NumPy. tagwave: decode, downmix and its exact resampler; its mel
belongs to the model, and its time on the processor (cpu) is not measured. The model `none` is this side alone. Others are run by Python in each worker, in batches of eight
(plain: of one), as the graphs of run.py. Milliseconds a track are summed over the workers; start-up is not timed.
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
import run as networks

RATE, SECONDS, N_FFT, HOP, MELS = 12000, 29.12, 512, 256, 96
BATCH = 8
STAGES = ("decode", "resample", "mel", "model", "cpu")
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
        decibels = np.maximum(decibels, decibels.max() - 80.0).astype(np.float32)
        return decibels, [decoded - start, resampled - decoded, time.perf_counter() - resampled]


class Plain:
    def __init__(self):
        warnings.simplefilter("ignore")  # librosa's, about the second decoder that it falls back to

    def __call__(self, path):
        import librosa

        start = time.perf_counter()
        samples, _ = librosa.load(path, sr=RATE)
        decoded = time.perf_counter()
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS)
        decibels = librosa.power_to_db(mel**2).astype(np.float32)
        return decibels, [decoded - start, 0.0, time.perf_counter() - decoded]


STYLES = {"tuned": Tuned, "plain": Plain}
_load = _infer = None


def _begin(style, model, engine, warm):
    global _load, _infer
    _load = STYLES[style]()
    if model != "none":
        batch = 1 if style == "plain" else BATCH
        network = networks.PEERS[engine](networks.export(model, batch), 1)
        frames = networks.MODELS[model][0]

        def _infer(spectrograms):
            x = np.zeros((batch, 1, MELS, frames), np.float32)
            for row, found in zip(x, spectrograms):
                width = min(frames, found.shape[1])
                row[0, :, :width] = found[:, :width]
            network(x)

    _several(warm)  # lazy imports, plans, codecs


def _several(paths):
    """Milliseconds of every stage for one batch, and of the processor."""
    processor = time.process_time()
    loaded = [_load(path) for path in paths]
    start = time.perf_counter()
    if _infer:
        _infer([spectrogram for spectrogram, _ in loaded])
    ends = [time.perf_counter() - start, time.process_time() - processor]
    return np.append(np.sum([times for _, times in loaded], axis=0), ends) * 1e3


def python(style, model, engine, files, workers):
    warm = list({os.path.splitext(path)[1]: path for path in files}.values())
    size = BATCH if model != "none" and style == "tuned" else 1
    batches = [files[at : at + size] for at in range(0, len(files), size)]
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (style, model, engine, warm)) as pool:
        pool.map(_one_sleep, range(workers))
        start = time.perf_counter()
        times = np.sum(pool.map(_several, batches, chunksize=1), axis=0) / len(files)
        seconds = time.perf_counter() - start
    return {"tracks_per_s": len(files) / seconds, **dict(zip(STAGES, times))}


def _one_sleep(_):
    time.sleep(0.2)  # every worker has begun once all have slept


def tagwave(command, model, folder, repeat, workers):
    arguments = [command, "bench", "pipeline", folder, "--json", "--decode-threads", str(workers), "--repeat", str(repeat)]
    arguments += ["--device", "none"] if model == "none" else ["--device", "cpu", "--model", model]
    found = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)
    stages = found["ms_per_track"]
    return {"tracks_per_s": found["tracks_per_s"], **{stage: stages.get(stage, 0.0) for stage in STAGES}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--models", default="none")
    parser.add_argument("--engine", default="openvino", choices=networks.PEERS)
    parser.add_argument("--styles", default="tuned,plain")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1, help="passes over the files in a round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tagwave", default="target/release/tagwave")
    parser.add_argument("--csv", help="where to keep the figures")
    arguments = parser.parse_args()
    walk = os.walk(arguments.folder)
    files = sorted(os.path.join(at, name) for at, _, names in walk for name in names if name.endswith(ENDINGS))
    files *= arguments.repeat
    lines = ["model,engine,round,workers,files,tracks_per_s," + ",".join(f"{stage}_ms" for stage in STAGES)]
    for model in arguments.models.split(","):
        rates = {}
        for number in range(1, arguments.rounds + 1):
            for name in ["tagwave", *arguments.styles.split(",")]:
                if name == "tagwave":
                    found = tagwave(arguments.tagwave, model, arguments.folder, arguments.repeat, arguments.workers)
                else:
                    found = python(name, model, arguments.engine, files, arguments.workers)
                rates.setdefault(name, []).append(found["tracks_per_s"])
                values = ",".join(f"{value:.2f}" for value in found.values())
                lines.append(f"{model},{name},{number},{arguments.workers},{len(files)},{values}")
                print(lines[-1], flush=True)
        for name in arguments.styles.split(","):
            quotients = [own / other for own, other in zip(rates["tagwave"], rates[name])]
            print(f"{model}: tagwave is {statistics.median(quotients):.2f} times as fast as {name}")
    if arguments.csv:
        with open(arguments.csv, "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
