"""Errors of fields: the field, what was given and what was expected, without pydantic's words."""

from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from edgepart.files import Record
from edgepart.invalid import explain


class Inner(Record):
    rate: float = Field(gt=0, allow_inf_nan=False)
    share: float = Field(default=0.5, ge=0, le=1)


class Outer(Record):
    size_bytes: int = 1
    name: str = Field(default="a", min_length=1, max_length=50, pattern="^[a-z]")
    kind: Literal["a", "b"] = "a"
    inner: tuple[Inner, ...] = ()
    pair: tuple[int, float] = (1, 1.0)
    facts: dict[str, str | int] = Field(default_factory=dict)
    on: bool = True

    @model_validator(mode="after")
    def _check(self):
        if self.name == "bad":
            raise ValueError("a bad name: give another")
        return self


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inner": [{"rate": -1}]}, "field 'inner.0.rate' is -1, expected more than 0"),
        ({"inner": [{"rate": float("inf")}]}, "field 'inner.0.rate' is inf, expected a finite number"),
        ({"inner": [{"rate": "fast"}]}, "field 'inner.0.rate' is 'fast', expected a number"),
        ({"inner": [{"rate": 1, "share": 2}]}, "field 'inner.0.share' is 2, expected 1 or less"),
        ({"inner": [{"rate": 1, "share": -2}]}, "field 'inner.0.share' is -2, expected 0 or more"),
        ({"inner": [{}]}, "field 'inner.0.rate' is missing"),
        ({"inner": [{"rate": 1, "rat": 1}]}, "field 'inner.0.rat' is not known"),
        ({"inner": 3}, "field 'inner' is 3, expected a list"),
        ({"inner": [3]}, "field 'inner.0' is 3, expected named fields"),
        ({"size_bytes": 1.5}, "field 'size_bytes' is 1.5, expected a whole number"),
        ({"size_bytes": None}, "field 'size_bytes' is empty, expected a whole number"),
        (
            {"size_bytes": "4GB"},
            "field 'size_bytes' is '4GB', expected a whole number without a unit, which the field's name ends in",
        ),
        ({"size_byte": 1}, "field 'size_byte' is not known: did you mean size_bytes?"),
        ({"colour": 1}, "field 'colour' is not known"),
        ({"kind": "c"}, "field 'kind' is 'c', expected 'a' or 'b'"),
        ({"name": ["a"]}, "field 'name' is a list of 1, expected text"),
        ({"name": {}}, "field 'name' is a group of named fields, expected text"),
        ({"name": ""}, "field 'name' is '', expected at least 1 characters"),
        ({"name": "x" * 60}, f"field 'name' is '{'x' * 40}…', expected at most 50 characters"),
        ({"pair": [1, 2, 3]}, "field 'pair' is a list of 3, expected at most 2 of them"),
        ({"facts": {"a": [1]}}, "field 'facts.a' is a list of 1, expected text or a whole number"),
        ({"on": "maybe"}, "field 'on' is 'maybe', expected true or false"),
        ({"name": "bad"}, "a bad name: give another"),
        (3, "the whole is 3, expected named fields"),
        ({"kind": "c", "size_bytes": 1.5}, "field 'size_bytes' is 1.5, expected a whole number (and 1 more)"),
    ],
)
def test_the_field_what_was_given_and_what_was_expected(given, says):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    assert explain(caught.value, Outer.model_fields) == says


def test_a_list_that_is_too_short_misses_its_last():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"pair": [1]})
    assert explain(caught.value) == "field 'pair.1' is missing"
