"""Keras parts as SavedModels: equal to the part at any size, and nothing but data."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras_parts import (
    arrays,
    attentive,
    convolutional,
    gated,
    largest_difference,
    masked_recurrent,
    oddly_named,
    part,
    recurrent,
    several,
    tf,
    unsupported,
)

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor
from edgepart.testing.runtimes import RuntimeContract

TENSORFLOW = runtime("tensorflow")


class TestContract(RuntimeContract):
    def runtime(self):
        return TENSORFLOW

    def parts(self):
        return [oddly_named(), part(attentive), part(convolutional)]


def written(of, path):
    TENSORFLOW.write(of, path)
    return TENSORFLOW.open(path)


@pytest.mark.parametrize("make", [attentive, recurrent, masked_recurrent, unsupported, gated])
def test_equals_the_part(make, tmp_path):
    """Of loops too, although the functions that hold them are copied, and the copies go in any order."""
    artefact = written(part(make), tmp_path / "part")
    again = written(part(make), tmp_path / "again")
    del again
    differences = [largest_difference(artefact, part(make), batch) for batch in (1, 3, 1)]
    differences.append(largest_difference(artefact, part(make), 2, length=4))
    assert max(differences) < 1e-6


def test_odd_names_and_order(tmp_path):
    artefact = written(oddly_named(), tmp_path / "part.of.dots")
    assert Signature.beside(tmp_path / "part.of.dots").name == "part.of.dots.json"
    assert artefact.outputs == ("o:1", "dense/MatMul:0", "edgepart_input_0000", 'p"\\')
    assert largest_difference(artefact, oddly_named(), 3) < 1e-6


def test_more_than_ten_tensors_stay_in_order(tmp_path):
    """TensorFlow sorts names as texts: 10 before 2."""

    class Wide:
        layers, variables = ("wide",), {}
        signature = Signature.of(
            [_tensor(f"in{place}") for place in range(12)],
            [_tensor(f"out{place}") for place in range(12)],
            {"batch": 1},
        )

        def function(self, tensors, training=False):
            return [tensor * place for place, tensor in enumerate(tensors)]

    from edgepart.frameworks.keras.export import export

    for name, form in (("tensorflow", "savedmodel"), ("litert", "tflite")):
        path = tmp_path / name
        export(Wide(), form, path)
        Wide.signature.save(Signature.beside(path))
        made = runtime(name).open(path).run({f"in{place}": np.full((2, 3), place, "f") for place in range(12)})
        assert [float(array.mean()) for array in made.values()] == [place**2 for place in range(12)]


def test_brain_floats_travel_as_bits(tmp_path):
    class Half:
        layers, variables = ("half",), {}
        signature = Signature.of([_tensor("x", "bfloat16")], [_tensor("y", "bfloat16")], {"batch": 1})

        def function(self, tensors, training=False):
            return [tensors[0] * 2]

    from edgepart.frameworks.keras.export import export

    export(Half(), "savedmodel", tmp_path / "part")
    Half.signature.save(Signature.beside(tmp_path / "part"))
    one, two = 0x3F80, 0x4000
    made = TENSORFLOW.open(tmp_path / "part").run({"x": np.full((2, 3), one, np.uint16)})["y"]
    assert made.dtype == np.uint16
    np.testing.assert_array_equal(made, two)


def test_big_endian_and_strided_inputs(tmp_path):
    of = part(convolutional)
    artefact = written(of, tmp_path / "part")
    [(name, array)] = arrays(of, 3).items()
    expected = artefact.run({name: array})
    for key, found in artefact.run({name: np.asfortranarray(array).astype(">f4")}).items():
        np.testing.assert_array_equal(found, expected[key])


def test_only_float32(tmp_path):
    with pytest.raises(ExportError, match="the runtime tensorflow has no int8"):
        TENSORFLOW.write(part(several), tmp_path / "part", precision="int8")


def test_holds_only_what_the_part_reads(tmp_path):
    """Parameters once, and no path of the machine that wrote it."""
    of = part(convolutional)
    written(of, tmp_path / "part")
    files = {path: path.read_bytes() for path in (tmp_path / "part").rglob("*") if path.is_file()}
    held = sum(len(content) for path, content in files.items() if path.name.startswith("variables.data"))
    owned = sum(of.parameters.values())
    assert owned <= held < owned + 2000
    for content in files.values():
        assert str(Path(__file__).parent).encode() not in content
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_damaged_folders_are_refused(name, tmp_path):
    path = tmp_path / "part"
    written(part(convolutional), path)
    whole = (path / name).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damages = [b"", whole[: len(whole) // 2]]
    if name != "saved_model.pb":  # which has no checksum: a byte in a name or a size may not matter
        damages.append(bytes(flipped))
    for damaged in damages:
        (path / name).write_bytes(damaged)
        with pytest.raises(FileError, match="part is not a complete SavedModel"):
            TENSORFLOW.open(path)
    (path / name).unlink()
    with pytest.raises(FileError, match="part is not a complete SavedModel"):
        TENSORFLOW.open(path)
    shutil.rmtree(path)
    with pytest.raises(FileError, match="does not exist"):
        TENSORFLOW.open(path)
    path.write_text("a file")
    with pytest.raises(FileError, match="is a file, expected a folder"):
        TENSORFLOW.open(path)


def test_another_signature_is_refused(tmp_path):
    written(part(several), tmp_path / "part")
    part(convolutional).signature.save(Signature.beside(tmp_path / "part"))
    with pytest.raises(FileError, match="they are not of one part"):
        TENSORFLOW.open(tmp_path / "part")


def reading(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def writing(x):
    with tf.control_dependencies([tf.io.write_file("written", "by data")]):
        return x + 1


def writing_in_a_branch(x):
    return tf.cond(tf.reduce_sum(x) > 1, lambda: writing(x), lambda: x)


def calling_python(x):
    return tf.ensure_shape(tf.py_function(lambda y: y + 1, [x], tf.float32), [None, 3])


@pytest.mark.parametrize(
    ("compute", "operation"),
    [
        (reading, "ReadFile"),
        (writing, "WriteFile"),
        (writing_in_a_branch, "WriteFile"),
        (calling_python, "EagerPyFunc"),
    ],
)
def test_operations_that_reach_beyond_the_part_are_refused(compute, operation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "part", compute)
    with pytest.raises(FileError, match=f"holds the operation '{operation}', which can reach beyond"):
        TENSORFLOW.open(tmp_path / "part")
    assert not (tmp_path / "written").exists()


def test_what_runs_on_being_read_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    words = tf.lookup.TextFileInitializer(str(tmp_path / "words.txt"), tf.string, -2, tf.int64, -1)  # line → number
    table = tf.lookup.StaticHashTable(words, -1)
    save(tmp_path / "part", lambda x: x + tf.cast(table.size(), tf.float32), table=table)
    with pytest.raises(FileError, match="which runs on being read"):
        TENSORFLOW.open(tmp_path / "part")


def test_a_folder_of_others_with_harmless_operations_opens(tmp_path):
    """So that the refusals above are for the reason that they give."""
    save(tmp_path / "part", lambda x: tf.map_fn(lambda row: row * 2, x))
    made = TENSORFLOW.open(tmp_path / "part").run({"x": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(made["y"], 2)


def save(path, compute, **held):
    module = tf.Module()
    for name, value in held.items():
        setattr(module, name, value)
    spec = tf.TensorSpec([None, 3], tf.float32, "edgepart_input_0000")

    @tf.function(input_signature=[spec], autograph=False)
    def serve(edgepart_input_0000):
        return {"edgepart_output_0000": compute(edgepart_input_0000)}

    module.serve = serve
    tf.saved_model.save(module, str(path), signatures=serve)
    Signature.of([_tensor("x")], [_tensor("y")], {"batch": 1}).save(Signature.beside(path))


def _tensor(name, dtype="float32"):
    return Tensor(name=name, shape=("batch", 3), dtype=dtype, bytes=12)


def test_a_missing_package(monkeypatch, tmp_path):
    written(part(several), tmp_path / "part")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtra, match=r"tensorflow.*edgepart\[tensorflow\]"):
        TENSORFLOW.open(tmp_path / "part")


ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from keras_parts import convolutional, part
from edgepart.errors import FileError
of, folder = part(convolutional), Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for form in ("savedmodel", "tflite", "onnx"):
    try:
        of.export(form, folder / "part")
    except FileError as error:
        assert str(error).startswith(f"cannot write {folder}/part: "), error
        assert not list(folder.iterdir())
        continue
    raise AssertionError(form)
"""


def test_a_full_disk(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, tmp_path, Path(__file__).parent], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
