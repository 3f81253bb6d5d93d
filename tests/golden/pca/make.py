#!/usr/bin/env python3
"""Principal components by NumPy's SVD, for tests/pca.rs. Writes pca.npz beside itself.

Made with NumPy 2.4.6. Rows have correlated features of unequal spread and a mean far
from 0, as a streaming covariance likes least. The sign of a component is that of its largest entry.
"""
import os

import numpy as np

ROWS, FEATURES, COMPONENTS = 41, 7, 3

rng = np.random.default_rng(20160531)
mixing = rng.normal(size=(FEATURES, FEATURES)) * np.geomspace(5.0, 0.05, FEATURES)[:, None]
rows = (rng.normal(size=(ROWS, FEATURES)) @ mixing + np.linspace(-50, 300, FEATURES)).astype(np.float32)
rows[4, 2] = 0.0  # has no relative error

x = rows.astype(np.float64)
mean = x.mean(axis=0)
_, s, vt = np.linalg.svd(x - mean, full_matrices=False)
vt = vt * np.sign(vt[np.arange(FEATURES), np.abs(vt).argmax(axis=1)])[:, None]
variances = s**2 / (ROWS - 1)
components = vt[:COMPONENTS]
projected = (x - mean) @ components.T
recovered = projected @ components + mean
counted = x != 0
loss = np.mean(np.abs(recovered - x)[counted] / np.abs(x)[counted])

np.savez(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "pca.npz"),
    rows=rows,
    mean=mean.astype(np.float32),
    components=components.astype(np.float32),
    variances=variances[:COMPONENTS].astype(np.float32),
    total_variance=np.array([variances.sum()], np.float32),
    projected=projected.astype(np.float32),
    loss=np.array([loss], np.float32),
)
