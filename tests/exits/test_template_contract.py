"""The contract suite notices templates that break their promises."""

import pytest
from template_samples import HEAD, header

from edgepart.errors import EdgepartError
from edgepart.testing.templates import TemplateContract


def contract(tmp_path, text):
    path = tmp_path / "mine.py.j2"
    path.write_text(text)
    return type("Mine", (TemplateContract,), {"template": str(path)})()


def test_a_good_template_passes(tmp_path):
    suite = contract(tmp_path, header() + '"""A head."""\n' + HEAD)
    tests = [getattr(suite, name) for name in dir(suite) if name.startswith("test_")]
    assert len(tests) >= 5
    for test in tests:
        test()


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("test_header_explains_itself", header(parameters="{width: {type: int, default: 4, help: ' '}}") + HEAD),
        ("test_head_keeps_its_contract", header() + HEAD.replace("{{ classes }}", "7")),
        ("test_head_keeps_its_contract", header(input_ranks="[1, 3]") + HEAD),
        (
            "test_head_keeps_its_contract",
            header(parameters="{bias: {type: bool, default: true, help: Bias.}}")
            + HEAD.replace("return x", "return x{% if not bias %}.nothing{% endif %}"),
        ),
        ("test_source_runs_without_edgepart", header() + HEAD.replace("import torch\n", "import torch, edgepart\n")),
        ("test_source_runs_without_edgepart", header() + HEAD),
        ("test_rendering_is_deterministic", header() + "x = {{ range(10**9) | random }}\n" + HEAD),
    ],
)
def test_a_broken_one_does_not(tmp_path, test, text):
    with pytest.raises((AssertionError, EdgepartError)):
        getattr(contract(tmp_path, text), test)()
