#!/usr/bin/env python3
"""A GRU with the reset gate after the recurrent product, by Keras, for tests/gru.rs. Writes gru.npz beside itself.

Made with Keras 3.15.1 on its NumPy backend (it imports JAX and SciPy): KERAS_BACKEND=numpy python3 make.py
"""
import os

import keras
import numpy as np

BATCH, FRAMES, INPUTS, UNITS = 2, 7, 5, 6

rng = np.random.default_rng(20141224)
x = rng.normal(size=(BATCH, FRAMES, INPUTS)).astype(np.float32)
layer = keras.layers.GRU(UNITS, return_sequences=True, reset_after=True)
layer.build(x.shape)
weights = [rng.normal(scale=0.7, size=weight.shape).astype(np.float32) for weight in layer.get_weights()]
layer.set_weights(weights)
kernel, recurrent, bias = weights
np.savez(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "gru.npz"),
    x=x,
    kernel=kernel,
    recurrent=recurrent,
    input_bias=bias[0],
    recurrent_bias=bias[1],
    y=np.asarray(layer(x), dtype=np.float32),
)
