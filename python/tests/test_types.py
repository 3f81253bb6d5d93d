"""The stubs agree with the extension module, and the package is typed."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tagwave

CONFIGURATION = Path(__file__).resolve().parents[1] / "pyproject.toml"


def mypy(*words: str, folder: Path) -> None:
    pytest.importorskip("mypy", reason="not run: mypy is not installed")
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_those_of_the_module(tmp_path: Path) -> None:
    mypy("mypy.stubtest", "--mypy-config-file", str(CONFIGURATION), "tagwave", folder=tmp_path)


def test_the_package_is_typed(tmp_path: Path) -> None:
    use = tmp_path / "use.py"
    use.write_text(
        "import numpy as np\nimport tagwave\n"
        "track = tagwave.Tagger().tag(np.zeros(9), 22050)\n"
        "best: tuple[str, float] = track.top(1)[0]\n"
        "size: int = track.scores.size\n"
    )
    mypy("mypy", "--config-file", str(CONFIGURATION), "-p", "tagwave", folder=tmp_path)
    mypy("mypy", "--strict", str(use), folder=tmp_path)


def test_the_wheel_is_complete() -> None:
    names = {os.path.basename(str(file)) for file in importlib.metadata.files("tagwave") or []}
    assert {"py.typed", "_native.pyi", "__init__.py"} <= names
    assert importlib.metadata.version("tagwave")
    assert all(getattr(tagwave, name) is not None for name in tagwave.__all__)
    assert all(getattr(tagwave, name).__doc__ for name in tagwave.__all__)
