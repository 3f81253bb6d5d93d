"""Writes the trained student as tagwave's weight file, and its manifest.

    python export.py CORPUS OUT/student.pt ../weights/small --weights FOLDER

The same student gives the same bytes.
"""

import argparse
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import torch

from clips import Clips
from student import Crnn
from train import MAPS, UNITS

NAME = "tagwave-small.safetensors"
ORIGIN = "distilled by tagwave from MusicTaggerCRNN and MusicTaggerCNN (keunwoochoi/music-auto_tagging-keras)"
METADATA = {
    "tagwave_format": "1",
    "layout": "correlation; conv [O,C,F,T]; dense and gru [in,out]",
    "reading": "running_std holds a standard deviation, not a variance: "
               "y = (x - running_mean) * gamma / (running_std + 1e-6) + beta",
    "dtype": "f16",
    "model": "small",
    "licence": "MIT OR Apache-2.0",
    "origin": ORIGIN,
}
MANIFEST = """\
# Written by training/export.py, like the file it describes. README.md beside it is the model's card.
model = "small"
title = "tagwave-small: MusicTaggerCRNN's layout with fewer maps, distilled, 50 tags"
repository = "{origin}"
licence = "MIT OR Apache-2.0"
copyright = "Copyright (c) 2026 the tagwave developers; its teachers: Copyright (c) 2016 Keunwoo Choi, MIT"
citation = 'K. Choi, G. Fazekas, M. Sandler, K. Cho: "Convolutional Recurrent Neural Networks for Music Classification", arXiv:1609.04243, 2016'

[embedded]
name = "{name}"
size = {size}
sha256 = "{sha256}"
"""


def safetensors(arrays):
    """The file's bytes: the header sorted by name, so that nothing but the numbers decides them."""
    header, data = {"__metadata__": METADATA}, b""
    for name, array in sorted(arrays.items()):
        assert np.isfinite(array).all(), name
        raw = array.astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    student = Crnn(MAPS, UNITS)
    student.load_state_dict(torch.load(args.student))
    clips = Clips(args.corpus, "training", args.weights)
    chosen = np.random.default_rng(2).choice(len(clips), 512)
    arrays = student.tensors(clips.spectrograms(part) for part in np.array_split(chosen, 64))
    args.out.mkdir(parents=True, exist_ok=True)
    content = safetensors(arrays)
    (args.out / NAME).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = MANIFEST.format(origin=ORIGIN, name=NAME, size=len(content), sha256=digest)
    (args.out / "manifest.toml").write_text(manifest)
    print(f"{args.out / NAME}: {len(content)} bytes, {digest}")


if __name__ == "__main__":
    main()
