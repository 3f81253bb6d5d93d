#!/usr/bin/env python3
"""Metrics by scikit-learn, for tests/evaluation.rs. Writes evaluation.json beside itself.

Made with scikit-learn 1.9.1, NumPy 2.4.6 and SciPy 1.17.1. Each case has scores and labels
[N, K], the group of each item, and the values of scikit-learn; null is a value that
is not defined, for which scikit-learn gives nan or, without a true label, an average precision of 0.
"""
import json
import math
import os
import warnings

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

THRESHOLD, PRECISION, BINS, REPLICATES, SEED = 0.5, 0.6, 10, 25, 20160531

warnings.filterwarnings("ignore")
rng = np.random.default_rng(SEED)


def value(x):
    return None if x is None or math.isnan(x) else float(x)


def auc(y, s, weight=None):
    classes = y if weight is None else y[weight > 0]
    return value(roc_auc_score(y, s, sample_weight=weight)) if 0 < classes.sum() < len(classes) else None


def ap(y, s, weight=None):
    classes = y if weight is None else y[weight > 0]
    return value(average_precision_score(y, s, sample_weight=weight)) if classes.sum() > 0 else None


def mean(values):
    values = [x for x in values if x is not None]
    return sum(values) / len(values) if values else None


def scores_at(y, s, average):
    if average != "binary" and y.shape[1] == 1:
        # scikit-learn takes one column as two classes and would average over both.
        y, s, average = y.ravel(), s.ravel(), "binary"
    p, r, f, _ = precision_recall_fscore_support(y, s >= THRESHOLD, average=average, zero_division=np.nan)
    return {"precision": value(p), "recall": value(r), "f1": value(f)}


def reliability(y, s):
    true_share, mean_score = calibration_curve(y, s, n_bins=BINS)
    # The same bins, for their counts.
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], s), minlength=BINS)
    counts = counts[counts > 0]
    return {
        "true_share": true_share.tolist(),
        "mean_score": mean_score.tolist(),
        "ece": float((counts * np.abs(mean_score - true_share)).sum() / counts.sum()),
    }


def logit(s):
    p = np.clip(s, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def platt(y, s):
    """scikit-learn's curve, made exact: its own solver stops at a gradient of 1e-6."""
    if not 0 < y.sum() < len(y) or len(set(s)) == 1:
        return None
    x = logit(s)
    near = -np.array(_sigmoid_calibration(x, y))
    if near[0] <= 0:
        return None
    positives, negatives = y.sum(), len(y) - y.sum()
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    loss = lambda v: float(np.sum(np.logaddexp(0, v[0] * x + v[1]) - target * (v[0] * x + v[1])))
    grad = lambda v: np.array([np.sum((expit(v[0] * x + v[1]) - target) * x), np.sum(expit(v[0] * x + v[1]) - target)])

    def hess(v):
        p = expit(v[0] * x + v[1])
        w = p * (1 - p)
        return np.array([[np.sum(w * x * x), np.sum(w * x)], [np.sum(w * x), np.sum(w)]])

    exact = minimize(loss, near, jac=grad, hess=hess, method="trust-exact", options={"gtol": 1e-10}).x
    for _ in range(5):
        exact = exact - np.linalg.solve(hess(exact), grad(exact))
    return {"near": near.tolist(), "exact": exact.tolist()}


def temperature(y, s):
    x, y = logit(s.ravel()), y.ravel()
    slope = lambda a: float(np.sum((expit(a * x) - y) * x))
    if slope(0.01) > 0 or slope(100.0) < 0:
        return None
    return 1 / brentq(slope, 0.01, 100.0, xtol=1e-15, rtol=1e-15)


class SplitMix64:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014."""

    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) * count) >> 64


def interval(values):
    values = [x for x in values if x is not None]
    if 2 * len(values) < REPLICATES:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": float(low), "high": float(high), "replicates": len(values)}


def bootstrap(y, s, groups):
    random, count = SplitMix64(SEED), int(max(groups)) + 1
    statistics = []
    for _ in range(REPLICATES):
        drawn = np.bincount([random.below(count) for _ in range(count)], minlength=count)
        weight = drawn[groups]
        aucs = [auc(y[:, k], s[:, k], weight) for k in range(y.shape[1])]
        aps = [ap(y[:, k], s[:, k], weight) for k in range(y.shape[1])]
        pooled = np.repeat(weight, y.shape[1])
        statistics.append(
            aucs + aps + [mean(aucs), mean(aps), auc(y.ravel(), s.ravel(), pooled), ap(y.ravel(), s.ravel(), pooled)]
        )
    return [interval(column) for column in zip(*statistics)]


def case(name, y, s, groups):
    y, s = np.asarray(y, int), np.asarray(s, float)
    tags = []
    for k in range(y.shape[1]):
        yk, sk = y[:, k], s[:, k]
        tag = {"roc_auc": auc(yk, sk), "average_precision": ap(yk, sk), "brier": float(brier_score_loss(yk, sk, pos_label=1))}
        tag |= scores_at(yk, sk, "binary") if yk.sum() or (sk >= THRESHOLD).any() else {"precision": None, "recall": None, "f1": None}
        tag["reliability"] = reliability(yk, sk)
        tag["platt"] = platt(yk, sk)
        tag["best_f1"] = tag["recall_at_precision"] = None
        if yk.sum():
            p, r, _ = precision_recall_curve(yk, sk)
            p, r = p[:-1], r[:-1]
            f1 = np.where(p + r > 0, 2 * p * r / np.where(p + r > 0, p + r, 1), 0)
            tag["best_f1"] = float(f1.max())
            enough = r[(p >= PRECISION) & (r > 0)]
            tag["recall_at_precision"] = float(enough.max()) if len(enough) else None
        if tag["roc_auc"] is not None:
            fpr, tpr, _ = roc_curve(yk, sk, drop_intermediate=False)
            tag["roc_curve"] = [fpr.tolist(), tpr.tolist()]
        tags.append(tag)
    expected = {
        "tags": tags,
        "macro": scores_at(y, s, "macro"),
        "micro": scores_at(y, s, "micro"),
        "macro_roc_auc": mean([tag["roc_auc"] for tag in tags]),
        "macro_average_precision": mean([tag["average_precision"] for tag in tags]),
        "micro_roc_auc": auc(y.ravel(), s.ravel()),
        "micro_average_precision": ap(y.ravel(), s.ravel()),
        "brier": float(brier_score_loss(y.ravel(), s.ravel(), pos_label=1)),
        "reliability": reliability(y.ravel(), s.ravel()),
        "temperature": temperature(y, s),
        "intervals": bootstrap(y, s, groups),
    }
    if all(tag["roc_auc"] is not None for tag in tags) and len(tags) > 1:
        assert abs(expected["macro_roc_auc"] - roc_auc_score(y, s, average="macro")) < 1e-12
        assert abs(expected["micro_roc_auc"] - roc_auc_score(y, s, average="micro")) < 1e-12
        assert abs(expected["macro_average_precision"] - average_precision_score(y, s, average="macro")) < 1e-12
        assert abs(expected["micro_average_precision"] - average_precision_score(y, s, average="micro")) < 1e-12
    if (y.sum(axis=1) == 1).all() and y.shape[1] > 2:
        labels = np.arange(y.shape[1])
        expected["top"] = [float(top_k_accuracy_score(y.argmax(axis=1), s, k=k, labels=labels)) for k in (1, 2)]
    return {"name": name, "scores": s.tolist(), "truth": y.tolist(), "groups": groups.tolist(), "expected": expected}


def generated(n, k, skill):
    y = (rng.random((n, k)) < 0.3).astype(int)
    return y, expit(rng.normal(size=(n, k)) + skill * (y - 0.5) - 1)


def main():
    cases = []
    y, s = generated(40, 3, 2.0)
    cases.append(case("generated", y, s, rng.integers(0, 12, 40)))
    cases.append(case("ties", y, np.round(s, 1), np.arange(40)))
    y, s = generated(30, 4, 1.0)
    y[:, 1], y[:, 2] = 0, 1
    cases.append(case("one class", y, s, rng.integers(0, 30, 30)))
    s = s.copy()
    s[:, 0], s[:, 3] = 0.25, 0.0
    cases.append(case("equal scores", y, s, np.arange(30)))
    y = np.eye(4, dtype=int)[rng.integers(0, 4, 25)]
    cases.append(case("one tag per item", y, expit(rng.normal(size=y.shape) + 2 * y - 2), np.arange(25) // 2))
    cases.append(case("separated", [[1], [1], [0], [0], [0]], [[1.0], [0.8], [0.3], [0.1], [0.0]], np.arange(5)))
    cases.append(case("reversed", [[0], [0], [1], [1]], [[0.9], [0.7], [0.4], [0.2]], np.arange(4)))
    cases.append(case("one item", [[1, 0]], [[0.6, 0.7]], np.arange(1)))
    settings = {"threshold": THRESHOLD, "precision": PRECISION, "bins": BINS, "replicates": REPLICATES, "seed": SEED}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "evaluation.json")
    with open(path, "w") as file:
        json.dump({"settings": settings, "cases": cases}, file, separators=(",", ":"))
        file.write("\n")


main()
