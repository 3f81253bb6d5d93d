"""Asks tagwave's CRNN and CNN (`--compat corrected`) what they hear in every clip of the tracks of CORPUS/tracks.tsv.

    python teacher.py CORPUS --tagwave PATH --weights FOLDER

Writes CORPUS/shards/<i>.npz: `mel` [frames, 96] of all its tracks one after another (dB, f16), and of
each clip the frame it starts at, its track's id, and the features before the last dense layer of CRNN [32]
and CNN [256]. Their scores are that layer and a sigmoid away (`scores`).
"""

import argparse
import csv
import json
import subprocess
import wave
from pathlib import Path

import numpy as np

from spectrogram import CLIP_FRAMES, HOP, RATE, log_mel

TRACKS_OF_A_SHARD = 48


def features(tagwave, weights, model, stride, files, scratch):
    """(row number of its file, start in samples) of each clip, and [clips, D] features."""
    out = scratch.with_name(f"{scratch.name}-{model}.npy")
    command = [tagwave, "embed", "--quiet", "--device", "cpu", "--model", model, "--compat", "corrected",
               "--weights", weights, "--clips", "all", "--stride", str(stride), "--per-clip", "--format", "npy",
               "-o", out, *files]
    subprocess.run(command, check=False)
    rows, number = [], {str(path): i for i, path in enumerate(files)}
    listed = out.with_name(out.stem + ".paths.txt")
    for line in listed.read_text().splitlines():
        path, start = line.rsplit("\t", 1)
        rows.append((number[path], round(float(start) * RATE)))
    values = np.load(out)
    out.unlink()
    listed.unlink()
    return rows, values


def head(path):
    """Kernel and bias of the last dense layer in one of the original's weight files."""
    import h5py

    with h5py.File(path) as file:
        arrays = {}
        file.visititems(lambda name, item: arrays.update({name.split("/")[-1]: item[()]}) if hasattr(item, "shape") else None)
    # `output_W` in CRNN's file, `dense_1_W` or alike in CNN's: the one with 50 columns.
    kernel = next(v for k, v in arrays.items() if v.ndim == 2 and v.shape[1] == 50)
    bias = next(v for k, v in arrays.items() if v.shape == (50,))
    return kernel.astype(np.float64), bias.astype(np.float64)


def scores(weights, crnn, cnn):
    """The teacher's scores: the mean of both models' probabilities, [clips, 50]."""
    probabilities = []
    for model, values in (("crnn", crnn), ("cnn", cnn)):
        kernel, bias = head(Path(weights) / f"music_tagger_{model}_weights_theano.h5")
        probabilities.append(1 / (1 + np.exp(-(values.astype(np.float64) @ kernel + bias))))
    return np.mean(probabilities, axis=0).astype(np.float32)


def samples(path):
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE and file.getnchannels() == 1
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tagwave", default="tagwave")
    parser.add_argument("--weights", required=True, type=Path)
    # A whole number of hops, so that a clip's frames are the track's.
    parser.add_argument("--stride-hops", type=int, default=555)
    args = parser.parse_args()
    shards = args.corpus / "shards"
    shards.mkdir(exist_ok=True)
    with open(args.corpus / "tracks.tsv", newline="") as file:
        files = [args.corpus / "wav" / f"{row['id']}.wav" for row in csv.DictReader(file, delimiter="\t")]
    for first in range(0, len(files), TRACKS_OF_A_SHARD):
        shard = shards / f"{first // TRACKS_OF_A_SHARD:03}.npz"
        if shard.exists():
            continue
        chosen = files[first:first + TRACKS_OF_A_SHARD]
        stride = args.stride_hops * HOP / RATE
        rows, crnn = features(args.tagwave, args.weights, "crnn", stride, chosen, shard)
        other, cnn = features(args.tagwave, args.weights, "cnn", stride, chosen, shard)
        assert rows == other, "both models heard the same clips"
        mels = [log_mel(samples(path)) for path in chosen]
        offsets = np.cumsum([0, *map(len, mels)])
        keep = [i for i, (track, start) in enumerate(rows)
                if start % HOP == 0 and start // HOP + CLIP_FRAMES <= len(mels[track])
                and np.isfinite(crnn[i]).all() and np.isfinite(cnn[i]).all()]
        part = shard.with_suffix(".part")
        with open(part, "wb") as file:
            np.savez(file, mel=np.concatenate(mels).astype(np.float16),
                     start=np.array([offsets[rows[i][0]] + rows[i][1] // HOP for i in keep]),
                     track=np.array([chosen[rows[i][0]].stem for i in keep]),
                     crnn=crnn[keep], cnn=cnn[keep])
        part.rename(shard)
        print(json.dumps({"shard": shard.name, "tracks": len(chosen), "clips": len(keep)}), flush=True)


if __name__ == "__main__":
    main()
