#!/usr/bin/env python3
"""Golden layers, features and scores of the default model on the synthetic clip, in NumPy float64.

    python3 tests/golden/small/make.py

Made with Python 3.11.7 and NumPy 2.4.6, from weights/small/tagwave-small.safetensors. Independent of the Rust
code and of training/: spectrogram and layers are those of the goldens beside it (frontend/make.py,
models/make.py). Layers of more than 4,096 values are sampled at the indices floor(k * size / 4096) of their C
order. To be made again whenever the weights are.
"""
import importlib.util
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
WEIGHTS = HERE.parents[2] / "weights/small/tagwave-small.safetensors"
SAMPLED = 4096


def load(path):
    spec = importlib.util.spec_from_file_location(f"golden_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arrays(path):
    """The named arrays of a safetensors file, f16 widened to f64."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__")
    data = content[8 + length:]
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f2").reshape(entry["shape"]).astype(np.float64)
            for name, entry in header.items()}


def main():
    frontend, models = load(HERE.parent / "frontend/make.py"), load(HERE.parent / "models/make.py")
    w = arrays(WEIGHTS)
    mel = frontend.spectrogram(frontend.synthetic_clip())[None, None]
    trace = {"input": models.levelled(mel, "corrected")}
    x = trace["pad"] = np.pad(trace["input"], ((0, 0), (0, 0), (0, 0), (37, 37)))
    x = trace["bn0"] = models.batch_norm(x, w, "bn0", 3, models.deviation)
    x = models.blocks(x, w, [(2, 2), (3, 3), (4, 4), (4, 4)], models.deviation, trace)
    x = trace["seq"] = np.ascontiguousarray(x[:, :, 0].transpose(0, 2, 1))
    x = trace["gru1"] = models.gru(x, w, "gru1")
    x = trace["gru2_states"] = models.gru(x, w, "gru2")
    models.head(x[:, -1], w, trace)
    out = {}
    for layer, value in trace.items():
        # The steps in between are held by the goldens of the tiny models.
        if layer.startswith(("pool", "gru", "features", "logits", "probs")):
            value = value.reshape(-1)
            if value.size > SAMPLED:
                value = value[np.arange(SAMPLED) * value.size // SAMPLED]
            out[layer] = value.astype(np.float32)
    np.savez_compressed(HERE / "synthetic.npz", **out)


if __name__ == "__main__":
    main()
