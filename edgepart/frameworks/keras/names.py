"""The names that Keras gives to layers without one: ``dense``, ``dense_1`` … counted through the whole process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fresh_names() -> Iterator[None]:
    """Count from nought while the block runs, so that the same code names its layers alike each time it is run.

    A plan knows a network by the names of its layers. Does nothing where Keras is not imported.
    """
    if "keras" not in sys.modules:
        yield
        return
    from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
    from keras.src.utils.naming import reset_uids

    before = get_global_attribute("object_name_uids")
    reset_uids()
    try:
        yield
    finally:
        set_global_attribute("object_name_uids", before)
