"""Keras parts as .tflite files in LiteRT: equal to the part in every precision, at any size."""

import os
import subprocess
import sys

import numpy as np
import pytest
from keras_parts import (
    arrays,
    attentive,
    convolutional,
    gated,
    half,
    largest_difference,
    masked_recurrent,
    oddly_named,
    part,
    recurrent,
    several,
    spectral,
    unsupported,
)

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.signature import Signature
from edgepart.testing.runtimes import RuntimeContract

LITERT = runtime("litert")


class TestContract(RuntimeContract):
    def runtime(self):
        return LITERT

    def parts(self):
        return [oddly_named(), part(attentive), part(convolutional)]


def written(of, path, precision="float32"):
    LITERT.write(of, path, precision=precision, samples=[arrays(of, 4, seed=seed) for seed in range(4)])
    return LITERT.open(path)


@pytest.mark.parametrize("make", [attentive, recurrent, masked_recurrent, gated])
@pytest.mark.parametrize("precision", LITERT.precisions)
def test_equals_the_part(make, precision, tmp_path):
    """Two batch sizes in turn on one artefact, back to the first, and another length of sequences."""
    artefact = written(part(make), tmp_path / "part.tflite", precision)
    bound = {"float32": 1e-5, "float16": 3e-3, "int8": 0.1}[precision]
    differences = [largest_difference(artefact, part(make), batch) for batch in (1, 3, 1)]
    differences.append(largest_difference(artefact, part(make), 2, length=4))
    assert max(differences) < bound


@pytest.mark.parametrize("make", [convolutional, attentive])
def test_smaller_precisions_are_smaller(make, tmp_path):
    """That int8 and float16 are what they say: files shrink, values differ."""
    sizes = []
    for precision in LITERT.precisions:
        path = tmp_path / f"{precision}.tflite"
        artefact = written(part(make), path, precision)
        sizes.append(path.stat().st_size)
        if precision != "float32":
            assert largest_difference(artefact, part(make), 3) > 1e-5
    if make is not convolutional:  # its few weights are outweighed by what describes their scales
        assert sizes == sorted(sizes, reverse=True)


def test_artefacts_keep_their_arrays(tmp_path):
    """What an artefact has returned does not change when it runs again."""
    of = part(convolutional)
    artefact = written(of, tmp_path / "part.tflite")
    first = artefact.run(arrays(of, 2, seed=1))
    kept = {name: array.copy() for name, array in first.items()}
    artefact.run(arrays(of, 2, seed=2))
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


def test_big_endian_and_strided_inputs(tmp_path):
    of = part(convolutional)
    artefact = written(of, tmp_path / "part.tflite")
    [(name, array)] = arrays(of, 3).items()
    expected = artefact.run({name: array})
    strided = np.asfortranarray(array).astype(">f4")
    for output, found in artefact.run({name: strided}).items():
        np.testing.assert_array_equal(found, expected[output])


def test_an_operation_that_is_lacking_is_named_with_its_layer(tmp_path):
    with pytest.raises(ExportError, match="LiteRT has no operation for 'Betainc' of the layer 'strange'"):
        LITERT.write(part(unsupported), tmp_path / "part.tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_loaded_does_not_stay(tmp_path):
    with pytest.raises(ExportError, match="LiteRT cannot load the part that its converter wrote"):
        LITERT.write(part(spectral), tmp_path / "part.tflite")
    assert not list(tmp_path.iterdir())


def test_a_type_that_is_lacking_is_named(tmp_path):
    with pytest.raises(ExportError, match="for 'BiasAdd' on float16 of the layer 'conv2d"):
        LITERT.write(part(half), tmp_path / "part.tflite")


def test_int8_of_a_convolutional_part_needs_samples(tmp_path):
    with pytest.raises(ExportError, match="from samples of its inputs, and none were given"):
        LITERT.write(part(convolutional), tmp_path / "part.tflite", precision="int8")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileError, match=r"the folder .*nowhere does not exist"):
        LITERT.write(part(several), tmp_path / "nowhere" / "part.tflite")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "part.tflite"
    written(part(several), path)
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-8], b"\0" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"part\.tflite is not a complete \.tflite file"):
            LITERT.open(path)
    path.unlink()
    with pytest.raises(FileError, match="does not exist"):
        LITERT.open(path)


def test_another_signature_is_refused(tmp_path):
    written(part(several), tmp_path / "part.tflite")
    part(convolutional).signature.save(Signature.beside(tmp_path / "part.tflite"))
    with pytest.raises(FileError, match="they are not of one part"):
        LITERT.open(tmp_path / "part.tflite")


def test_a_missing_package(monkeypatch, tmp_path):
    written(part(several), tmp_path / "part.tflite")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingExtra, match=r"ai-edge-litert.*edgepart\[litert\]"):
        LITERT.open(tmp_path / "part.tflite")
    with pytest.raises(MissingExtra, match="ai-edge-litert"):
        LITERT.write(part(several), tmp_path / "another.tflite")
    assert not (tmp_path / "another.tflite").exists()


ELSEWHERE = """
import sys
from pathlib import Path
from edgepart.frameworks.runtimes import runtime
litert = runtime("litert")
artefact = litert.open(Path(sys.argv[1]))
artefact.run(artefact.signature.example(3))
litert.version()
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""


def test_runs_without_tensorflow_and_says_nothing(tmp_path):
    written(part(convolutional), tmp_path / "part.tflite")
    assert_silent(ELSEWHERE, tmp_path / "part.tflite")


WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from keras_parts import arrays, part, recurrent, convolutional, unsupported
from edgepart.errors import ExportError
from edgepart.frameworks.runtimes import runtime
of, path = part(convolutional), Path(sys.argv[1])
runtime("tensorflow").write(of, path / "folder")
runtime("tensorflow").open(path / "folder").run(arrays(of, 2))
runtime("litert").write(of, path / "small.tflite", precision="int8", samples=[arrays(of, 2)])
runtime("litert").write(part(recurrent), path / "loop.tflite")
of.export("onnx", path / "part.onnx")
for form in ("tflite", "onnx"):
    try:
        part(unsupported).export(form, path / "none")
    except ExportError:
        continue
    raise AssertionError(form)
"""


def test_writing_says_nothing(tmp_path):
    """Nor do conversions that fail."""
    assert_silent(WRITING, tmp_path, os.path.dirname(__file__))


def assert_silent(source, *arguments):
    variables = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
