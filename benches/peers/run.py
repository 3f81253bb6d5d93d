#!/usr/bin/env python3
"""tagwave and what others run instead, on this machine, in turn. See README.md beside this file.

    python run.py [--models crnn,cnn,compact] [--batches 1,8] [--threads 1,2] [--seconds 2] [--rounds 5]
                  [--csv FILE]

The networks are built here as ONNX graphs with random weights of the published shapes: speed does not depend on
the values. Batch normalisation is folded on both sides, and every peer takes the maximum before the ELU.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GRAPHS = ROOT / "target" / "peers"

MODELS = {
    # frames, zeros on either side, maps, pools, GRU units
    "crnn": (1366, 37, [64, 128, 128, 128], [(2, 2), (3, 3), (4, 4), (4, 4)], 32),
    "cnn": (1366, 0, [32, 128, 128, 192, 256], [(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)], 0),
    "compact": (1360, 0, [32] * 5, [(2, 4), (3, 4), (2, 5), (2, 4), (4, 4)], 0),
    "small": (1366, 37, [24, 56, 128, 128], [(2, 2), (3, 3), (4, 4), (4, 4)], 64),
}
BANDS, TAGS = 96, 50


class Graph:
    """Collects nodes and weights."""

    def __init__(self, seed):
        self.nodes, self.weights, self.random = [], [], np.random.default_rng(seed)

    def constant(self, array):
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape):
        scale = 1.7 / max(1, int(np.prod(shape[1:]))) ** 0.5
        return self.constant((self.random.uniform(-1, 1, shape) * scale).astype(np.float32))

    def node(self, op, *inputs, **attributes):
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name


def gru(g, x, frames, inputs, units):
    """Keras 1: hard sigmoid gates, the reset gate before the recurrent product. All states, a list."""
    xw = g.node("Add", g.node("MatMul", x, g.weight(inputs, 3 * units)), g.weight(3 * units))
    u_gates, u_candidate = g.weight(units, 2 * units), g.weight(units, units)
    one, axes = g.constant(np.float32(1)), g.constant(np.array([1], np.int64))
    h, states = None, []
    for t in range(frames):
        a = g.node("Gather", xw, g.constant(np.int64(t)), axis=1)
        cut = lambda first, last: g.node(
            "Slice", a, g.constant(np.array([first], np.int64)), g.constant(np.array([last], np.int64)), axes)
        gates, candidate = cut(0, 2 * units), cut(2 * units, 3 * units)
        if h is not None:
            gates = g.node("Add", gates, g.node("MatMul", h, u_gates))
        gates = g.node("HardSigmoid", gates, alpha=0.2, beta=0.5)
        z = g.node("Slice", gates, g.constant(np.array([0], np.int64)), g.constant(np.array([units], np.int64)), axes)
        if h is not None:
            r = g.node("Slice", gates, g.constant(np.array([units], np.int64)),
                       g.constant(np.array([2 * units], np.int64)), axes)
            candidate = g.node("Add", candidate, g.node("MatMul", g.node("Mul", r, h), u_candidate))
        c = g.node("Mul", g.node("Sub", one, z), g.node("Tanh", candidate))
        h = c if h is None else g.node("Add", g.node("Mul", z, h), c)
        states.append(h)
    return states


def export(model, batch):
    """The ONNX file of a model for one batch size."""
    import onnx
    from onnx import TensorProto, helper

    frames, pad, maps, pools, units = MODELS[model]
    g = Graph(1)
    x = "mel"
    if pad:
        x = g.node("Pad", x, g.constant(np.array([0, 0, 0, pad, 0, 0, 0, pad], np.int64)))
    columns = frames + 2 * pad
    x = g.node("Add", g.node("Mul", x, g.constant(np.full(columns, 0.02, np.float32))),
               g.constant(np.full(columns, 0.5, np.float32)))
    channels = 1
    for outputs, pool in zip(maps, pools):
        x = g.node("Conv", x, g.weight(outputs, channels, 3, 3), g.weight(outputs), pads=[1, 1, 1, 1])
        x = g.node("Elu", g.node("MaxPool", x, kernel_shape=pool, strides=pool))
        channels = outputs
    if units:
        x = g.node("Transpose", g.node("Squeeze", x, g.constant(np.array([2], np.int64))), perm=[0, 2, 1])
        axis = g.constant(np.array([1], np.int64))
        states = [g.node("Unsqueeze", h, axis) for h in gru(g, x, 15, channels, units)]
        x = gru(g, g.node("Concat", *states, axis=1), 15, units, units)[-1]
        channels = units
    else:
        x = g.node("Flatten", x)
    x = g.node("Add", g.node("MatMul", x, g.weight(channels, TAGS)), g.weight(TAGS))
    x = g.node("Sigmoid", x)
    graph = helper.make_graph(
        g.nodes, model,
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [batch, 1, BANDS, frames])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, TAGS])], g.weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    GRAPHS.mkdir(parents=True, exist_ok=True)
    path = GRAPHS / f"{model}_{batch}.onnx"
    onnx.save(made, path)
    return path


def onnxruntime_peer(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"mel": x})[0]


def openvino_peer(path, threads):
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    core = openvino.Core()
    request = core.compile_model(core.read_model(str(path)), "CPU", settings).create_infer_request()
    return lambda x: request.infer([x])[0].copy()


PEERS = {"onnxruntime": onnxruntime_peer, "openvino": openvino_peer}


def time_peer(run, batch, frames, seconds):
    x = np.random.default_rng(0).normal(-25, 18, (batch, 1, BANDS, frames)).astype(np.float32)
    run(x), run(x)
    wall, processor = [], []
    end = time.perf_counter() + seconds
    while len(wall) < 5 or time.perf_counter() < end:
        t, c = time.perf_counter(), time.process_time()
        run(x)
        wall.append(time.perf_counter() - t)
        processor.append(time.process_time() - c)
    median = statistics.median
    return {"clips_per_s": batch / median(wall), "clips_per_s_max": batch / min(wall), "clips_per_cpu_s": batch / median(processor)}


def worker(peer, model, batch, threads, seconds):
    run = PEERS[peer](export(model, batch), threads)
    row = time_peer(run, batch, MODELS[model][0], seconds)
    print(json.dumps({"peer": peer, "model": model, "batch": batch, "threads": threads, **row}))


def one_turn(peer, cell, seconds):
    """One peer on one cell, in a process of its own."""
    model, batch, threads = cell
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")
    if peer == "tagwave":
        command = [str(tagwave()), "bench", "model", "--json", "--device", "cpu", "--from", "spectrogram", "--model", model,
                   "--batch", str(batch), "--threads", str(threads), "--seconds", str(seconds)]
    else:
        command = [sys.executable, __file__, "--worker", json.dumps([peer, model, batch, threads, seconds])]
    lines = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return json.loads([line for line in lines.splitlines() if line.startswith("{")][-1])


def tagwave(_cache=[]):
    """The program, built once."""
    if not _cache:
        command = ["cargo", "build", "--release", "--package", "tagwave-cli", "--message-format", "json"]
        lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        made = [json.loads(line) for line in lines if '"executable":"' in line]
        _cache.append(next(m["executable"] for m in made if m["target"]["name"] == "tagwave"))
    return _cache[0]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="crnn,cnn,compact")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        return worker(*json.loads(a.worker))
    rows = []
    numbers = lambda text: [int(word) for word in text.split(",")]
    for threads in numbers(a.threads):
        for model in a.models.split(","):
            for batch in numbers(a.batches):
                turns = {peer: [] for peer in ["tagwave", *PEERS]}
                for _ in range(a.rounds):
                    for peer, results in turns.items():
                        results.append(one_turn(peer, (model, batch, threads), a.seconds / a.rounds))
                cell = []
                for peer, results in turns.items():
                    middle = lambda key: statistics.median(result[key] for result in results)
                    cell.append([model, threads, batch, peer, round(middle("clips_per_s"), 2),
                                 round(max(result["clips_per_s_max"] for result in results), 2),
                                 round(middle("clips_per_cpu_s"), 2)])
                fastest = max(row[6] for row in cell[1:])
                print(f"\n{model}, batch {batch}, {threads} thread(s)")
                for row in cell:
                    row.append(round(row[6] / fastest, 2))
                    print(f"  {row[3]:12s} {row[4]:9.2f} clips/s (best {row[5]:8.2f}) {row[6]:9.2f} clips/CPU s"
                          f"  {row[7]:5.2f}x the fastest peer", flush=True)
                rows += cell
    if a.csv:
        with open(a.csv, "w", newline="") as file:
            file.write(f"# {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}\n")
            file.write(f"# python benches/peers/run.py {' '.join(sys.argv[1:])}\n")
            out = csv.writer(file)
            out.writerow(["model", "threads", "batch", "engine", "clips_per_s", "best_clips_per_s",
                          "clips_per_cpu_s", "ratio_to_fastest_peer_per_cpu_s"])
            out.writerows(rows)


if __name__ == "__main__":
    main()
