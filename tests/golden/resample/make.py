#!/usr/bin/env python3
"""Makes resample.npz: outputs of the original's resampler for noise at the rates that music comes in.

    python3 make.py ORACLE.py        (a module with `resample_old_resampy(x, sr_from, sr_to)`)

The input needs no file: s = (1664525 s + 1013904223) mod 2^32 from s = 1, updated before use, x = s / 2^32 - 0.5
rounded to float32. Each array `y_<rate>` holds the outputs at 12 kHz for its first INPUTS[rate] samples; the lengths
make the products `len * ratio` integers in some cases and not in others. Made with numpy 1.24 to 2.x alike.
"""
import importlib.util
import sys

import numpy as np

INPUTS = {44100: 11025, 48000: 12001, 32000: 8000, 22050: 6001, 16000: 4003, 11025: 2755, 8000: 2001, 96000: 20011}


def noise(n):
    s, x = 1, np.empty(n)
    for k in range(n):
        s = (1664525 * s + 1013904223) & 0xffffffff
        x[k] = s / 4294967296.0 - 0.5
    return x.astype(np.float32)


def main():
    spec = importlib.util.spec_from_file_location('oracle', sys.argv[1])
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    x = noise(max(INPUTS.values()))
    arrays = {'y_%d' % rate: oracle.resample_old_resampy(x[:n], rate, 12000).astype(np.float32)
              for rate, n in INPUTS.items()}
    np.savez('resample.npz', **arrays)
    print({name: len(y) for name, y in arrays.items()})


if __name__ == '__main__':
    main()
