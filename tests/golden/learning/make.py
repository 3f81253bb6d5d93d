#!/usr/bin/env python3
"""Scores of scikit-learn's logistic regression, for tests/learning.rs. Writes learning.json beside itself.

Made with scikit-learn 1.9.1 and NumPy 2.4.6. Features are made from integers, so that the test makes the same ones; the
solver's tolerance is far below the test's.
"""
import json
import os

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

MASK = (1 << 64) - 1


def numbers(count, seed):
    """SplitMix64, as numbers in -1 to 1."""
    state, found = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        found.append((z ^ (z >> 31)) / 2**63 - 1)
    return np.array(found)


def data(tracks, dimensions, tags, noise, seed):
    x = numbers(tracks * dimensions, seed).reshape(tracks, dimensions)
    # Features of different scales and means.
    x = x * (1 + np.arange(dimensions)) + 0.5 * np.arange(dimensions)
    w = numbers(dimensions * tags, seed + 1).reshape(dimensions, tags)
    e = numbers(tracks * tags, seed + 2).reshape(tracks, tags)
    logits = (x - x.mean(0)) / x.std(0) @ w + noise * e
    return x, logits > np.quantile(logits, np.linspace(0.5, 0.9, tags), axis=0).diagonal()


cases = []
for tracks, dimensions, tags, noise in [(60, 3, 2, 0.5), (200, 64, 5, 1.0), (40, 64, 3, 0.0), (200, 16, 4, 4.0)]:
    seed = 100 * len(cases) + 7
    x, y = data(tracks, dimensions, tags, noise, seed)
    case = {"tracks": tracks, "dimensions": dimensions, "tags": tags, "seed": seed, "truth": y.astype(int).ravel().tolist(), "fits": []}
    scaled = StandardScaler().fit_transform(x)
    for penalty, balanced in [(1.0, False), (0.01, False), (10.0, True)]:
        scores = np.empty(y.shape)
        for tag in range(tags):
            fit = LogisticRegression(
                C=1 / penalty, class_weight="balanced" if balanced else None, tol=1e-10, max_iter=100_000
            ).fit(scaled, y[:, tag])
            scores[:, tag] = fit.predict_proba(scaled)[:, 1]
        case["fits"].append({"penalty": penalty, "balanced": balanced, "scores": [round(s, 7) for s in scores.ravel()]})
    cases.append(case)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "learning.json"), "w") as file:
    json.dump(cases, file)
    file.write("\n")
