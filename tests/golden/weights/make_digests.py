#!/usr/bin/env python3
"""SHA-256 of every array of the six published weight files, as h5py reads them: digests.tsv.

    python3 make_digests.py DIRECTORY_WITH_THE_SIX_FILES > digests.tsv

Needs numpy and h5py; the first line of the table names the versions used. Columns: file, name without the
decoration of a backend, extents joined by x, SHA-256 of the little-endian f32 bytes as stored (nothing is
rotated).
"""
import collections
import hashlib
import pathlib
import re
import sys

import h5py
import numpy

FILES = [
    "music_tagger_cnn_weights_tensorflow.h5",
    "music_tagger_cnn_weights_theano.h5",
    "music_tagger_crnn_weights_tensorflow.h5",
    "music_tagger_crnn_weights_theano.h5",
    "weights_tensorflow.hdf5",
    "weights_theano.hdf5",
]


def undecorated(names):
    """Only TensorFlow decorates: ":0", and a number before it unless two names would become one."""
    if not names[0].endswith(":0"):
        return names
    plain = [name[:-2] for name in names]
    short = [re.sub(r"_[0-9]+$", "", name) for name in plain]
    count = collections.Counter(short)
    return [s if count[s] == 1 else p for p, s in zip(plain, short)]


def main(directory):
    print(f"# h5py {h5py.__version__}, numpy {numpy.__version__}")
    for name in FILES:
        with h5py.File(directory / name, "r") as file:
            arrays = {}
            for layer in file.attrs["layer_names"]:
                group = file[layer.decode()]
                for weight in group.attrs["weight_names"]:
                    arrays[weight.decode()] = group[weight.decode()][()]
            for short, array in zip(undecorated(list(arrays)), arrays.values()):
                assert array.dtype == numpy.float32
                digest = hashlib.sha256(array.astype("<f4").tobytes()).hexdigest()
                print(name, short, "x".join(map(str, array.shape)), digest, sep="\t")


main(pathlib.Path(sys.argv[1]))
