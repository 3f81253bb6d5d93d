#!/usr/bin/env python3
"""Golden layers of the tiny models, written from the layer equations in NumPy float64.

    python3 tests/golden/models/make.py

Made with Python 3.11.7 and NumPy 2.4.6. Independent of the Rust code: the weights are painted by the formula
of `paint` below (tests/models.rs paints the same), everything else is the published equations. Each file holds
the input spectrogram, the outputs of all layers for both compatibilities ("corrected/conv1", ...), and the scores.
"""
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def paint(shape, seed):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    ramp = ((i * 97 + seed * 31) % 251).astype(np.float32) / np.float32(125.5) - np.float32(1)
    return ramp.reshape(shape)


def seeded(table):
    """Weights of a table of (name, shape), as f32 values in f64."""
    weights = {}
    for seed, (name, shape) in enumerate(table):
        value = paint(shape, seed)
        fan_in = np.float32(max(1, int(np.prod(shape[1:]))))
        if name.endswith((".deviation", ".gamma")):
            value = np.float32(1) + np.float32(0.5) * value
        else:
            value = value / np.sqrt(fan_in)
        weights[name] = value.astype(np.float64)
    return weights


def norm_rows(layer, extent):
    return [(f"{layer}.{part}", (extent,)) for part in ("gamma", "beta", "mean", "deviation")]


def conv_rows(maps, channels=1, norms=norm_rows):
    rows = []
    for number, out in enumerate(maps, 1):
        rows += [(f"conv{number}.kernel", (out, channels, 3, 3)), (f"conv{number}.bias", (out,))]
        rows += norms(f"bn{number}", out)
        channels = out
    return rows, channels


def batch_norm(x, w, layer, axis, divisor):
    shape = [1] * x.ndim
    shape[axis] = -1
    g, b, m, s = (w[f"{layer}.{part}"].reshape(shape) for part in ("gamma", "beta", "mean", "deviation"))
    return (x - m) * g / divisor(s) + b


def conv(x, kernel, bias):
    n, c, f, t = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((n, len(kernel), f, t))
    for i in range(3):
        for j in range(3):
            y += np.einsum("ncft,oc->noft", padded[:, :, i:i + f, j:j + t], kernel[:, :, i, j])
    return y + bias[None, :, None, None]


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def max_pool(x, pf, pt):
    n, c, f, t = x.shape
    f, t = f // pf, t // pt
    return x[:, :, :f * pf, :t * pt].reshape(n, c, f, pf, t, pt).max((3, 5))


def blocks(x, w, pools, divisor, trace):
    for number, pool in enumerate(pools, 1):
        x = trace[f"conv{number}"] = conv(x, w[f"conv{number}.kernel"], w[f"conv{number}.bias"])
        x = trace[f"bn{number}"] = batch_norm(x, w, f"bn{number}", 1, divisor)
        x = trace[f"elu{number}"] = elu(x)
        x = trace[f"pool{number}"] = max_pool(x, *pool)
    return x


def gru(x, w, layer):
    part = lambda kind, gate: w[f"{layer}.{kind}_{gate}"]
    hard = lambda v: np.clip(0.2 * v + 0.5, 0, 1)
    h = np.zeros((len(x), part("recurrent", "z").shape[0]))
    states = []
    for t in range(x.shape[1]):
        project = lambda gate, state: x[:, t] @ part("input", gate) + part("bias", gate) + state @ part("recurrent", gate)
        z, r = hard(project("z", h)), hard(project("r", h))
        h = z * h + (1 - z) * np.tanh(project("h", r * h))
        states.append(h)
    return np.stack(states, 1)


def levelled(mel, compat):
    floored = np.maximum(mel, mel.max((1, 2, 3), keepdims=True) - 80)
    if compat == "original":
        return floored
    mean = floored.mean((1, 2, 3), keepdims=True)
    return (floored - mean) / (floored.std((1, 2, 3), keepdims=True) + 1e-8)


def deviation(s):
    return s + 1e-6


def variance(s):
    return np.sqrt(s + 1e-5)


def head(features, w, trace):
    trace["features"] = features
    trace["logits"] = features @ w["output.weight"] + w["output.bias"]
    trace["probs"] = 1 / (1 + np.exp(-trace["logits"]))


def crnn(mel, compat):
    maps, pools, units, labels, pad = [5, 7, 6, 9], [(2, 2), (3, 3), (2, 2), (1, 1)], 5, 11, 3
    rows, channels = conv_rows(maps)
    table = norm_rows("bn0", mel.shape[3] + 2 * pad) + rows
    for layer, inputs in (("gru1", channels), ("gru2", units)):
        for gate in "zrh":
            table += [(f"{layer}.input_{gate}", (inputs, units)), (f"{layer}.recurrent_{gate}", (units, units)),
                      (f"{layer}.bias_{gate}", (units,))]
    w = seeded(table + [("output.weight", (units, labels)), ("output.bias", (labels,))])
    divisor = deviation if compat == "corrected" else variance
    trace = {"input": levelled(mel, compat)}
    x = trace["pad"] = np.pad(trace["input"], ((0, 0), (0, 0), (0, 0), (pad, pad)))
    x = trace["bn0"] = batch_norm(x, w, "bn0", 3, divisor)
    x = blocks(x, w, pools, divisor, trace)
    x = trace["seq"] = np.ascontiguousarray(x[:, :, 0].transpose(0, 2, 1))
    x = trace["gru1"] = gru(x, w, "gru1")
    x = trace["gru2_states"] = gru(x, w, "gru2")
    head(x[:, -1], w, trace)
    return trace


def cnn(mel, compat):
    maps, pools, labels = [5, 7, 6], [(2, 4), (3, 2), (2, 4)], 11
    rows, channels = conv_rows(maps)
    table = norm_rows("bn0", mel.shape[3]) + rows
    w = seeded(table + [("output.weight", (channels, labels)), ("output.bias", (labels,))])
    trace = {"input": levelled(mel, compat)}
    x = trace["bn0"] = batch_norm(trace["input"], w, "bn0", 3, deviation)
    x = blocks(x, w, pools, deviation, trace)
    head(x.reshape(len(x), -1), w, trace)
    return trace


def compact(mel, compat):
    maps, pools, labels = [5] * 5, [(2, 2), (3, 2), (2, 2), (1, 2), (1, 2)], 11
    rows, channels = conv_rows(maps, norms=lambda layer, extent: norm_rows(layer, extent)[:2])
    w = seeded(rows + [("output.weight", (channels, labels)), ("output.bias", (labels,))])
    top = mel.max() if compat == "original" else mel.max((1, 2, 3), keepdims=True)
    x = np.maximum(mel - top, -80)
    trace = {"input": x}
    for number, pool in enumerate(pools, 1):
        x = trace[f"conv{number}"] = conv(x, w[f"conv{number}.kernel"], w[f"conv{number}.bias"])
        if compat == "original":
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        else:  # frozen: painted like everything else
            mean = paint((5,), 100 + number).astype(np.float64)
            var = (np.float32(1) + np.float32(0.5) * paint((5,), 200 + number)).astype(np.float64)
        w[f"bn{number}.mean"], w[f"bn{number}.deviation"] = mean, var
        x = trace[f"bn{number}"] = batch_norm(x, w, f"bn{number}", 1, lambda s: np.sqrt(s + 1e-3))
        x = trace[f"elu{number}"] = elu(x)
        x = trace[f"pool{number}"] = max_pool(x, *pool)
        trace[f"feat{number - 1}"] = x.mean((2, 3))
    trace["feat160"] = np.concatenate([trace[f"feat{level}"] for level in (4, 3, 2, 1, 0)], 1)
    head(x.reshape(len(x), -1), w, trace)
    return trace


def main():
    # Two clips of 13 bands and 33 frames, some of whose values lie below the floor.
    full = (60 * paint((2, 1, 13, 33), 3).astype(np.float64)).astype(np.float32)
    for name, model in (("crnn", crnn), ("cnn", cnn), ("compact", compact)):
        mel = full[..., :32] if name == "compact" else full
        arrays = {"mel": mel}
        for compat in ("corrected", "original"):
            for layer, value in model(mel.astype(np.float64), compat).items():
                arrays[f"{compat}.{layer}"] = value.astype(np.float32)
        np.savez_compressed(HERE / f"{name}_tiny.npz", **arrays)


if __name__ == "__main__":
    main()
