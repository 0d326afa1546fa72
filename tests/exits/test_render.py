"""Rendering: context, formatting, and refusals."""

import ast

import black
import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_samples import HEAD, header

from edgepart.errors import TemplateError
from edgepart.exits.render import render
from edgepart.exits.template import load_template


@pytest.fixture
def mine(tmp_path):
    def _mine(body, **changes):
        path = tmp_path / "mine.py.j2"
        path.write_text(header(**changes) + body)
        return load_template(path, "torch")

    return _mine


def rendered(template, shape=(8,), classes=3, parameters=None, classifier=None):
    return render(template, shape=shape, classes=classes, name="e1", parameters=parameters or {}, classifier=classifier)


@pytest.mark.parametrize(("shape", "channels"), [((7,), 7), (("sequence", 5), 5), ((3, 9, 9), 3), ((4, "h", "w"), 4)])
def test_context(mine, shape, channels):
    template = mine(
        "x = [{{ classes }}, {{ rank }}, {{ channels }}, {{ name | repr }}, {{ shape | list | repr }}, {{ width }}]",
        input_ranks="[1, 2, 3]",
    )
    source = rendered(template, shape, parameters={"width": 6})
    assert ast.literal_eval(source.removeprefix("x = ")) == [3, len(shape), channels, "e1", list(shape), 6]


def test_source_is_formatted(mine):
    source = rendered(mine(HEAD.replace("import torch\n", "import   torch\n\n\n\n\n")))
    assert source == black.format_str(source, mode=black.Mode(line_length=100))
    assert "import torch\n" in source
    assert "{#" not in source


def test_shipped_sources_say_where_they_come_from():
    source = rendered(load_template("linear", "torch"), ("sequence", 12))
    docstring = ast.get_docstring(ast.parse(source))
    assert "template 'linear'" in docstring
    assert "(batch, sequence, 12)" in docstring
    assert "(batch, 3)" in docstring
    assert "e1" in docstring


def test_classifier_has_to_be_at_hand():
    template = load_template("replicate_classifier", "torch")
    with pytest.raises(TemplateError, match=r"needs the network's own classifier.*'linear'"):
        rendered(template)
    assert "nn.Linear(8, 3)" in rendered(template, classifier=["nn.Linear(8, 3)"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ shape[5] }}", "line 8"),
        ("\n{{ 1 / 0 }}", "line 9: ZeroDivisionError"),
        ("{{ fail('no tensors today') }}", "the template 'mine' refuses: no tensors today"),
        ("def f(:\n  pass", "is not Python: invalid syntax in rendered line"),
        ("{% include 'other' %}", "no loader for this environment"),
    ],
)
def test_one_sentence_for_what_goes_wrong(mine, body, expected):
    with pytest.raises(TemplateError) as raised:
        rendered(mine(body))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tensors_it_cannot_classify():
    with pytest.raises(
        TemplateError, match=r"'bert_pooler' classifies tensors \(sequence, hidden\) a sample, not \(8\)"
    ):
        rendered(load_template("bert_pooler", "torch"))
    with pytest.raises(TemplateError, match="fixed number of channels"):
        rendered(load_template("linear", "torch"), ("length",))
    with pytest.raises(TemplateError, match="pool 'first' needs a tensor of tokens"):
        rendered(load_template("linear", "torch"), (3, 4, 4), parameters={"pool": "first"})


@given(
    sides=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    channels=st.integers(1, 512),
    classes=st.integers(2, 1000),
    grid=st.integers(0, 16),
)
def test_conv_pool_never_enlarges_a_map(sides, channels, classes, grid):
    source = rendered(load_template("conv_pool", "torch"), (channels, *sides), classes, {"grid": grid})
    kept = [side if grid == 0 else min(side, grid) for side in sides]
    assert f"to (batch, {channels}, {kept[0]}, {kept[1]})" in source
    assert ("adaptive_avg_pool2d" in source) == (kept != list(sides))
