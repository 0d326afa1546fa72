"""Sizes in a file that someone has changed by hand."""

import pytest
from pydantic import ValidationError

from edgepart.graph import Layer, Tensor


def test_no_size_is_negative():
    with pytest.raises(ValidationError, match="bytes"):
        Tensor(name="x", shape=(1,), dtype="float32", bytes=-5)
    for field in ("macs", "activation_bytes"):
        with pytest.raises(ValidationError, match=field):
            Layer(name="a", module="", kind="add", ops=("add",), inputs=("x",), outputs=("y",), **{field: -1})
