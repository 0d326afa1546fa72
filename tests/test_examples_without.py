"""Examples say in a sentence what they lack: data, or a package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
#: runs a file as a script where a package is not installed
BLOCKED = """
import runpy, sys
sys.path.insert(0, {folder!r})
sys.modules[{package!r}] = None
sys.argv = {argv!r}
runpy.run_path({file!r}, run_name="__main__")
"""


def ended(tmp_path, example, file, arguments, environment=None, without=None):
    """What an example prints as it gives up."""
    path, argv = EXAMPLES / example / file, [file, *map(str, arguments)]
    command = [sys.executable, str(path), *argv[1:]]
    if without is not None:
        script = BLOCKED.format(folder=str(path.parent), package=without, argv=argv, file=str(path))
        command = [sys.executable, "-c", script]
    kept = {name: value for name, value in os.environ.items() if name != "EDGEPART_DATA"}
    done = subprocess.run(
        command, cwd=tmp_path, env=kept | (environment or {}), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("example", ["edgelesspart_cifar10", "resnet_cifar10", "keras_cifar10"])
def test_a_folder_of_data_that_lacks_the_images(example, tmp_path):
    more = ["--network", tmp_path / "any.h5"] if example == "keras_cifar10" else []
    (tmp_path / "any.h5").touch()
    told = ended(tmp_path, example, "run.py", more, {"EDGEPART_DATA": str(tmp_path)})
    assert "does not exist: set EDGEPART_DATA" in told
    assert "train.npz" in told


def test_the_experiment_of_edgelesspart_without_keras(tmp_path):
    assert "edgepart[tensorflow]" in ended(tmp_path, "edgelesspart_cifar10", "run.py", [], without="keras")


@pytest.mark.parametrize("file", ["model.py", "run.py"])
def test_the_example_of_onnx_without_onnx(file, tmp_path):
    told = ended(tmp_path, "onnx_imagenette", file, [], without="onnx")
    assert told == "onnx is not installed: pip install 'edgepart[onnx]'"


def test_the_example_of_onnx_says_what_it_is_given(tmp_path):
    (tmp_path / "other.onnx").touch()
    assert "expected: python model.py" in ended(tmp_path, "onnx_imagenette", "model.py", [])
    told = ended(tmp_path, "onnx_imagenette", "model.py", ["missing.onnx", "out.onnx"])
    assert told == "missing.onnx does not exist: give the file mobilenet_v2_imagenet.onnx"
