"""Samples of a caller as an array."""

from __future__ import annotations

import operator
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ._errors import InputError

#: Most channels that are mixed to mono.
_MAX_CHANNELS = 64
#: Types of devices of DLPack whose memory the CPU reads: CPU, and memory of CUDA and ROCm on the host.
_HOST_DEVICES = (1, 3, 11)


class SupportsDLPack(Protocol):
    """Tensor of another library, such as PyTorch or JAX."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


#: Samples: an array, a tensor on the CPU, or a sequence of numbers.
SamplesLike: TypeAlias = npt.ArrayLike | SupportsDLPack


def as_samples(samples: SamplesLike) -> npt.NDArray[Any]:
    """Makes an array [channels, frames] of float32, float64 or int16, without a copy where there is no need."""
    array = _as_array(samples)
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    if array.dtype.newbyteorder("=") not in (np.float32, np.float64, np.int16):
        raise InputError(
            f"samples of type {array.dtype}: expected float32 or float64 in -1 to 1, or int16", "input"
        )
    if array.ndim not in (1, 2):
        raise InputError(f"samples of shape {array.shape}: expected [frames] or [channels, frames]", "input")
    array = np.atleast_2d(array)
    if not 1 <= array.shape[0] <= _MAX_CHANNELS:
        raise InputError(
            f"samples of shape {array.shape}: expected [channels, frames] with 1 to {_MAX_CHANNELS} channels; "
            "transpose samples of the shape [frames, channels]",
            "input",
        )
    return np.require(array, array.dtype.newbyteorder("="), "A")


def _as_array(samples: SamplesLike) -> npt.NDArray[Any]:
    if isinstance(samples, np.ndarray):
        return samples
    device = getattr(samples, "__dlpack_device__", None)
    if device is not None and int(device()[0]) not in _HOST_DEVICES:
        raise InputError("samples on a GPU: expected the CPU, move them there first: samples.cpu()", "input")
    try:
        if device is not None and not hasattr(samples, "__array_interface__"):
            tensor: Any = samples
            return np.from_dlpack(tensor)
        return np.asarray(samples)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"samples cannot be read as an array: {error}", "input") from error


def as_rate(sample_rate: float) -> int:
    """Makes a whole number of a rate in Hz, which some libraries give as a float."""
    if isinstance(sample_rate, float) and sample_rate.is_integer():
        return int(sample_rate)
    try:
        return operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"sample_rate {sample_rate!r}: expected a whole number of Hz", "input") from None
