"""The examples of the two guides run and keep the contracts they promise to keep."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from guides import contract_tests, run

from edgepart import plugins
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.options import construct, declared
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import Costs, Facts, tabulate
from edgepart.evaluation.replay import sweep
from edgepart.testing.cost_models import example_plan
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

SHOWN = [
    ("add-a-strategy.md", "TestOdds"),
    ("add-a-strategy.md", "TestLength"),
    ("add-a-cost-model.md", "TestEnergy"),
]


@pytest.mark.parametrize(("suite", "method"), [test for shown in SHOWN for test in contract_tests(*shown)])
def test_the_guides_examples_keep_the_contract(suite: Callable[[], Any], method: str) -> None:
    getattr(suite(), method)()


def test_two_classes_rank_by_odds_as_by_confidence() -> None:
    """With two classes 1 - second / best is 2 - 1/p, so both strategies draw the same curve."""
    trace = synthetic_trace(200)
    costs = Costs(example_costs(trace), full_model=3.0)
    odds, confidence = run("add-a-strategy.md")["Odds"](), Confidence()
    curves = []
    for strategy, grid in ((odds, [0.375, 0.875]), (confidence, [8 / 13, 8 / 9])):
        strategy.fit(trace, costs.table)
        curves.append([(result.accuracy, result.cost) for result in sweep(trace, strategy, costs, grid)])
    assert curves[0] == curves[1]


def test_energy_by_hand() -> None:
    energy = run("add-a-cost-model.md")["Energy"]
    found = tabulate(energy(), example_plan("split"), Facts(router_s=0.002))
    mobile, sent = 0.031 * 5, 10_000 * 1e-7
    assert found.table[0, :2] == pytest.approx([mobile, mobile + sent + 0.0081 * 5])
    assert found.full_model == pytest.approx(0.050 * 5 + 50_000 * 1e-7)
    assert found.router == pytest.approx(0.010)
    assert list(declared(energy)) == ["cloud"]
    plan = example_plan("split")
    silent = plan.tiers[0].device.model_copy(update={"power_w": None})
    tiers = (plan.tiers[0].model_copy(update={"device": silent}), *plan.tiers[1:])
    with pytest.raises(DispatchError, match="states no power_w"):
        tabulate(energy(), plan.model_copy(update={"tiers": tiers}))
    assert np.isinf(found.table[2, 0])


@pytest.mark.parametrize(("text", "cloud"), [("energy", False), ("energy:cloud=true", True), ("energy=False", False)])
def test_a_switch_is_an_option(monkeypatch: pytest.MonkeyPatch, text: str, cloud: bool) -> None:
    energy = run("add-a-cost-model.md")["Energy"]
    monkeypatch.setattr(plugins, "load", lambda family, name: energy)
    assert construct("cost model", text).cloud is cloud
    with pytest.raises(DispatchError, match="cloud is 'maybe', expected true or false"):
        construct("cost model", "energy:cloud=maybe")
