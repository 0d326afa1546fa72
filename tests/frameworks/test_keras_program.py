"""A captured Keras network is kept in a folder, read by another process, and follows its model."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import layers
from keras_zoo import NETWORKS, answers, final, inputs, network, program, run_parts

from edgepart.errors import FileError, GraphError
from edgepart.frameworks import framework, slices

KERAS = framework("keras")
#: the others take longer
FAST = ("lambda", "masked", "mixed_bfloat16", "operations", "shared", "tower")
ZOO = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
TOLERANCE = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}


@pytest.mark.parametrize("name", ZOO)
def test_it_comes_back_from_its_folder(name, tmp_path):
    program(name).save(tmp_path / "program")
    opened = KERAS.open_program(tmp_path / "program")
    assert opened.graph == program(name).graph
    for key, array in program(name).example().items():
        np.testing.assert_array_equal(opened.example()[key], array)
    given = inputs(name, 3, seed=4)
    boundaries = opened.graph.boundaries()
    known = run_parts(slices(opened, [boundaries[len(boundaries) // 2]]), given)
    for found, wanted in zip(final(opened.graph, known), answers(name, given), strict=True):
        assert (
            np.abs(found.astype(float) - wanted.astype(float)).max() <= TOLERANCE.get(name, 2e-6) * np.abs(wanted).max()
        )


def test_another_process_needs_none_of_the_user_s_code(tmp_path):
    """A Lambda and layers of the user's own; nothing of TensorFlow reaches the terminal."""
    program("lambda").save(tmp_path / "program")
    given = inputs("lambda", 2, seed=3)
    np.savez(tmp_path / "given.npz", **given)
    script = textwrap.dedent(
        """
        import os
        import sys
        from pathlib import Path
        import numpy as np
        from edgepart.frameworks import framework
        program = framework("keras").open_program(Path(sys.argv[1]) / "program")
        made = program.slice(None, None).run(dict(np.load(Path(sys.argv[1]) / "given.npz")))
        np.savez(Path(sys.argv[1]) / "made.npz", **{str(i): made[n] for i, n in enumerate(program.graph.outputs)})
        # TensorFlow's pool is made by now
        framework("keras").set_threads(1)
        assert len(os.sched_getaffinity(0)) == 1
        """
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    ran = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False, env=environment
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    made = np.load(tmp_path / "made.npz")
    for place, wanted in enumerate(answers("lambda", given)):
        np.testing.assert_allclose(made[str(place)], wanted, rtol=1e-6)


def test_what_is_missing_or_damaged_is_refused(tmp_path):
    program("sequential").save(tmp_path / "program")
    with pytest.raises(FileError, match="does not exist"):
        KERAS.open_program(tmp_path / "nothing")
    for name in ("operations/1.pb", "weights.safetensors", "layers.json"):
        file = tmp_path / "program" / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2 + 1])
        with pytest.raises(FileError):
            KERAS.open_program(tmp_path / "program")
        file.unlink()
        with pytest.raises(FileError):
            KERAS.open_program(tmp_path / "program")
        file.write_bytes(whole)
    with pytest.raises(FileError, match="does not exist"):
        program("sequential").save(tmp_path / "no" / "program")


def test_operations_that_reach_outside_are_refused(tmp_path):
    import tensorflow as tf

    program("sequential").save(tmp_path / "program")
    with tf.Graph().as_default() as graph:
        tf.io.write_file("somewhere", "something")
    (tmp_path / "program" / "operations" / "0.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(FileError, match="WriteFile"):
        KERAS.open_program(tmp_path / "program")


def test_a_program_from_a_folder_cannot_train(tmp_path):
    import tensorflow as tf

    program("sequential").save(tmp_path / "program")
    part = KERAS.open_program(tmp_path / "program").slice(None, None, share=True)
    image = tf.constant(inputs("sequential", 2)["image"])
    with pytest.raises(GraphError):
        part.function([image], training=True)
    assert part.function([image])[0].shape == (2, 5)


def small(width=3):
    x = keras.Input((4,), name="x")
    y = layers.BatchNormalization(name="norm")(layers.Dense(5, name="hidden")(x))
    return keras.Model(x, layers.Dense(width, name="head")(y), name="small")


def test_new_parts_hold_the_weights_that_the_model_has_now():
    model, given = small(), np.ones((2, 4), "float32")
    captured = KERAS.program(model, given)
    old = captured.slice(None, None)
    before = old.run({"x": given})["head"]
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 2.0)
    captured.update(model)
    np.testing.assert_array_equal(old.run({"x": given})["head"], before)
    np.testing.assert_allclose(captured.slice(None, None).run({"x": given})["head"], 2 * before, rtol=1e-5)


def test_another_model_is_no_update():
    captured = KERAS.program(small(), np.ones((2, 4), "float32"))
    with pytest.raises(GraphError, match="capture the network again"):
        captured.update(small())


def test_layers_added_later_are_noticed():
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, name="first")])
    captured = KERAS.program(model, np.ones((2, 4), "float32"))
    captured.update(model)
    model.add(layers.Dense(2, name="second"))
    with pytest.raises(GraphError, match="capture the network again"):
        captured.update(model)


@pytest.mark.parametrize("name", ZOO)
def test_it_is_captured_again_from_its_graph(name):
    again = KERAS.recapture(network(name), program(name).graph)
    assert again.graph.fingerprint == program(name).graph.fingerprint


def test_the_example_is_one_sample():
    example = program("dicts").example()
    assert {key: array.shape for key, array in example.items()} == {"big": (1, 4, 4, 2), "small": (1, 8)}
    np.testing.assert_array_equal(example["small"], inputs("dicts", 2)["small"][:1])
