"""What a user types becomes a strategy, or one sentence."""

import pytest

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
            "unknown option of the strategy 'cartography' 'objetive'; did you mean objective",
        ),
        ("cartography:objective=rooted", "'rooted'; did you mean routed"),
        ("cartography:lambdas=1/x", "lambdas is 'x', expected a number"),
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
