"""What a user types becomes a strategy, or one sentence."""

from importlib.metadata import EntryPoint

import pytest

from edgepart import plugins
from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.options import strategy
from edgepart.errors import EdgepartError


def test_options_reach_the_constructor() -> None:
    made = strategy("cartography:objective=routed, grid=quantile,lambdas=0.01/0.1")
    assert isinstance(made, Cartography)
    assert (made.objective, made.grid, made.embedding, made.lambdas) == ("routed", "quantile", "none", (0.01, 0.1))
    assert made.name == "cartography:objective=routed, grid=quantile,lambdas=0.01/0.1"
    short = strategy("entropy=nats")
    assert isinstance(short, Entropy)
    assert short.scale == "nats"
    assert strategy("random").name == "random"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cartograpy", "unknown strategy 'cartograpy'; did you mean cartography"),
        (
            "cartography:objetive=routed",
            "unknown option of the strategy 'cartography': 'objetive'; did you mean objective",
        ),
        ("cartography:objective=rooted", "'rooted'; did you mean routed"),
        ("cartography:lambdas=1/x", "lambdas is 'x', expected a number"),
        ("cartography:lambdas=0.1/nan", "lambdas is 'nan', expected a finite number"),
        ("adaee:c=inf", "c is 'inf', expected a finite number"),
        ("router:seed=-1", "seed is '-1', expected a whole number from 0 on"),
        ("adaee:c=-1", "c is -1, expected a number from 0"),
        ("i-splitee:mus=0.5/-2", "mus is -2, expected a number from 0"),
        ("cartography-adaptive:lambdas=-0.1", "lambdas is -0.1, expected a number from 0"),
        ("random=x", "seed is 'x', expected a whole number"),
        ("random=1:seed=2", "gives the option 'seed' a second value"),
        ("confidence=0.3", "takes no value: write 'confidence' instead of 'confidence=0.3'"),
        ("", "unknown strategy ''"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(EdgepartError) as caught:
        strategy(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_plug_in_says_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("odds", "nowhere.odds:Odds", "edgepart.strategies")
    monkeypatch.setattr(plugins, "_entries", lambda family: {"odds": entry})
    with pytest.raises(EdgepartError, match=r"cannot be imported .*: mend or uninstall the package that registers it$"):
        strategy("odds")
