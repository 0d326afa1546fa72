"""The exits of a bundle with the shares of its validation data, for planning anew."""

from __future__ import annotations

import numpy as np
import pytest
from test_evaluate import PLAN, trace_for, write_bundle

import edgepart
from edgepart.errors import DispatchError, UnknownName


@pytest.fixture(name="bundle")
def _bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", PLAN, trace_for(PLAN, seed=1))


def test_shares_are_those_of_the_replay(bundle):
    found = edgepart.exit_shares(bundle, threshold=0.6)
    opened = edgepart.open_bundle(bundle)
    assert [point.tensor for point in found] == [point.tensor for point in opened.plan.exits]
    probabilities = opened.validation.probabilities.max(axis=2)
    leaves = np.ones(probabilities.shape, dtype=bool)
    leaves[:, :-1] = probabilities[:, :-1] >= 0.6
    left = np.bincount(leaves.argmax(axis=1), minlength=leaves.shape[1]) / len(leaves)
    assert [point.going_on for point in found] == pytest.approx(list(1 - np.cumsum(left)[:-1]))
    for point in found:
        producer = opened.graph.tensor(point.tensor).producer
        assert opened.graph.layers[point.depth - 1].name == producer


def test_what_is_refused(bundle):
    with pytest.raises(UnknownName, match="did you mean entropy"):
        edgepart.exit_shares(bundle, "entropi")
    with pytest.raises(DispatchError, match="does not leave by a threshold"):
        edgepart.exit_shares(bundle, "fixed-tier")
