"""Tensors and NumPy arrays.

A dtype that NumPy lacks (bfloat16, float8) travels as its bits: a bfloat16 tensor is a uint16 array of the same shape,
``(bits.astype(np.uint32) << 16).view(np.float32)`` gives its values. So every tensor keeps its bytes and its bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_BITS = {1: torch.uint8, 2: torch.uint16}


def dtype_name(dtype: torch.dtype) -> str:
    """``float32``, ``int64``, ``bool`` … as the Graph writes it."""
    return str(dtype).removeprefix("torch.")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype of the array that stands for a tensor of the named torch dtype."""
    return np.dtype(dtype_name(_carrier(getattr(torch, name))))


def to_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The array that stands for a tensor; shares its memory where it can."""
    value = tensor.detach().cpu().resolve_conj().resolve_neg()
    array: NDArray[np.generic] = value.view(_carrier(value.dtype)).numpy()
    return array


def from_numpy(array: NDArray[np.generic], dtype: str | None = None) -> torch.Tensor:
    """The tensor that an array stands for; shares its memory unless torch cannot use that.

    Strides are kept, so that a part sees the memory layout that the part before it made.
    """
    usable = (
        array.flags.writeable and array.flags.aligned and array.dtype.isnative and min(array.strides, default=0) >= 0
    )
    tensor = torch.from_numpy(array if usable else np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    return tensor if dtype is None else tensor.view(getattr(torch, dtype))


def _carrier(dtype: torch.dtype) -> torch.dtype:
    known = dtype.is_floating_point and dtype not in (torch.float16, torch.float32, torch.float64)
    return _BITS[dtype.itemsize] if known else dtype
