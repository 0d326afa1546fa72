"""``import edgepart`` and ``edgepart --help`` are light: what is heavy is imported by the step that needs it."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "transformers", "tokenizers", "tensorflow", "keras", "onnx", "onnx_ir", "onnxruntime", "tf2onnx"}
FRAMEWORKS |= {"onnxscript", "executorch", "torchao", "ai_edge_litert"}
HEAVY = FRAMEWORKS | {"scipy", "matplotlib", "PIL", "sklearn", "networkx", "black"}


def imported(code):
    """The packages that a fresh interpreter has imported after running ``code``."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_edgepart_imports_no_other_package():
    # What the interpreter itself brings (an editable install's finder, for one) is not ours.
    assert imported("import edgepart") - imported("") - sys.stdlib_module_names == {"edgepart"}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        # The help of a command lists defaults and choices, so its module is imported; the work is not.
        ("from edgepart.cli.main import main; main(['--help'])", HEAVY),
        ("from edgepart import Graph, Boundary, Profile, Plan", HEAVY),
        ("from edgepart import Trace, replay", FRAMEWORKS | {"matplotlib"}),
        ("from edgepart import partition", FRAMEWORKS | {"matplotlib"}),
        ("from edgepart import Run, RunsReport, choose_policy, compare_runs", FRAMEWORKS | {"matplotlib"}),
        ("from edgepart import capture, split, profile, build, record, evaluate", FRAMEWORKS | {"matplotlib"}),
    ],
)
def test_what_is_not_used_is_not_imported(code, unwanted):
    assert imported(code) & unwanted == set()
