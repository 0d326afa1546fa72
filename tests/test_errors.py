"""Messages say what was given and what to do, once."""

import inspect

import pytest

from edgepart import errors
from edgepart.errors import EdgepartError, MissingExtra, UnknownName


def test_every_error_is_an_edgepart_error_and_says_what_it_is_for():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) > 10
    for cls in classes:
        assert issubclass(cls, EdgepartError)
        assert cls.__doc__


@pytest.mark.parametrize(
    ("given", "known", "message"),
    [
        ("wfi", ["wifi", "4g", "5g"], "unknown link 'wfi'; did you mean wifi?"),
        ("zzz", ["wifi", "4g"], "unknown link 'zzz'; known are 4g, wifi"),
        ("zzz", [], "unknown link 'zzz'; none are known"),
    ],
)
def test_unknown_name_gives_the_nearest_or_all(given, known, message):
    assert str(UnknownName("link", given, known)) == message


def test_unknown_name_does_not_list_hundreds():
    error = UnknownName("layer", "zzz", [f"layer{i}" for i in range(300)])
    assert "known are, among others, layer0" in str(error)
    assert str(error).count("layer") == 1 + 12
    assert len(error.known) == 300


def test_missing_extra_names_the_command():
    assert str(MissingExtra("torch", "torch")).endswith("pip install 'edgepart[torch]'")
