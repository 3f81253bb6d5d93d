#!/usr/bin/env python3
"""A tiny file of the kind Keras 1 saves weights in, once per backend: tiny_theano.h5, tiny_tensorflow.h5.

    python3 make_tiny_h5.py [OUTPUT_DIRECTORY]

Needs numpy and h5py (made with h5py 3.16.0). libver "earliest" gives superblock 0, old-style groups and
contiguous arrays, as in the published files. Every array is a ramp modulo 251 in quarters, so that every
number is exact; the tensorflow file has the kernel rotated by 180 degrees, the names decorated, and no dense
layer, like the published compact_cnn.
"""
import pathlib
import sys

import h5py
import numpy


def ramp(start, *shape):
    count = int(numpy.prod(shape))
    return (((start + numpy.arange(count)) % 251 - 125) / 4).astype("<f4").reshape(shape)


LAYERS = [
    ("input_1", []),
    ("conv1", [("conv1_W", ramp(1, 3, 2, 3, 3)), ("conv1_b", ramp(2, 3))]),
    ("bn1", [("bn1_running_mean", ramp(3, 3)), ("bn1_running_std", abs(ramp(4, 3)))]),
    ("dense_1", [("dense_1_W", ramp(5, 3, 5)), ("dense_1_b", ramp(6, 5))]),
]


def write(path, decorate):
    with h5py.File(path, "w", libver="earliest") as file:
        layers = [layer for layer in LAYERS if not (decorate and layer[0] == "dense_1")]
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for layer, weights in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [decorate_name(name, decorate).encode() for name, _ in weights]
            for name, array in weights:
                if decorate and array.ndim == 4:
                    array = array[:, :, ::-1, ::-1]
                group.create_dataset(decorate_name(name, decorate), data=array, track_times=False)


def decorate_name(name, decorate):
    if not decorate:
        return name
    return f"{name}:0" if name.startswith("bn1") else f"{name}_1:0"


output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
write(output / "tiny_theano.h5", decorate=False)
write(output / "tiny_tensorflow.h5", decorate=True)
