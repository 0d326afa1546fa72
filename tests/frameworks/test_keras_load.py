"""Keras networks from files; nothing in them is executed."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from keras_zoo import Scale

from edgepart.errors import MissingExtra, ModelError
from edgepart.frameworks import framework

KERAS = framework("keras")


class Unregistered(layers.Layer):
    def call(self, x):
        return x * 2


def model(*between, dtype="float32", shape=(4,)):
    x = keras.Input(shape, dtype=dtype, name="x")
    y = x
    for layer in between:
        y = layer(y)
    return keras.Model(x, y, name="network")


def refusal(path):
    with pytest.raises(ModelError) as caught:
        KERAS.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_network_and_inputs_for_it(tmp_path, suffix):
    made = model(layers.Dense(6, "relu"), layers.Dense(3, name="head"))
    made.compile("adam", "mse")
    made.save(tmp_path / f"network{suffix}")
    loaded, example = KERAS.load(tmp_path / f"network{suffix}")
    assert {key: (array.shape, array.dtype) for key, array in example.items()} == {"x": ((2, 4), np.dtype("float32"))}
    assert not loaded.compiled
    captured = KERAS.program(loaded, example)
    found = captured.slice(None, None).run(example)["head"]
    np.testing.assert_allclose(found, made(example["x"]), rtol=1e-5)


def test_token_ids_of_any_length(tmp_path):
    made = model(layers.Embedding(9, 4), layers.LSTM(3), dtype="int32", shape=(None,))
    made.save(tmp_path / "network.keras")
    _, example = KERAS.load(tmp_path / "network.keras")
    assert example["x"].dtype == np.int32
    assert example["x"].shape == (2, 16)


def test_registered_layers_are_found(tmp_path):
    model(Scale()).save(tmp_path / "network.keras")
    loaded, example = KERAS.load(tmp_path / "network.keras")
    assert KERAS.program(loaded, example).graph.layers[0].kind == "Scale"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_and_unknown_layers_are_refused(tmp_path, suffix):
    model(layers.Lambda(lambda x: x * 2)).save(tmp_path / f"code{suffix}")
    said = refusal(tmp_path / f"code{suffix}")
    assert "Lambda" in said
    assert "file.py:function" in said
    model(Unregistered()).save(tmp_path / f"unknown{suffix}")
    said = refusal(tmp_path / f"unknown{suffix}")
    assert "'Unregistered'" in said
    assert "file.py:function" in said


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_damaged_files(tmp_path, suffix):
    path = tmp_path / f"network{suffix}"
    model(layers.Dense(3)).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no network", b""):
        path.write_bytes(content)
        assert "cut short" in refusal(path) or "damaged" in refusal(path)
    path.unlink()
    assert "does not exist" in refusal(path)
    path.mkdir()
    assert "is a folder" in refusal(path)


def test_weights_without_a_network(tmp_path):
    path = tmp_path / "network.weights.h5"
    model(layers.Dense(3)).save_weights(path)
    assert "weights without a network" in refusal(path)


def test_maps_of_any_size_need_an_example(tmp_path):
    model(layers.Conv2D(3, 3), shape=(None, None, 3)).save(tmp_path / "network.keras")
    assert "(batch, any, any, 3) open" in refusal(tmp_path / "network.keras")


@pytest.mark.slow
def test_a_file_of_keras_2():
    """MLPerf Tiny's ResNet-8, trained and saved in 2021; 12.5 M multiply-accumulates (Banbury et al., table 1)."""
    data = Path(os.environ["EDGEPART_DATA"]) / "weights" / "mlperf_tiny_resnet8_cifar10"
    loaded, example = KERAS.load(data / "pretrainedResnet.h5")
    captured = KERAS.program(loaded, example)
    assert sum(layer.macs for layer in captured.graph.layers) == pytest.approx(12.5e6, rel=1e-3)
    [found] = captured.slice(None, None).run(example).values()
    expected = loaded(list(example.values()), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_another_backend_is_refused_before_it_is_imported():
    """Its package may not be there."""
    code = (
        "from pathlib import Path; from edgepart.errors import CaptureError\n"
        "from edgepart.frameworks import framework\n"
        "try: framework('keras').load(Path('x.keras'))\n"
        "except CaptureError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True
    )
    assert done.stdout.startswith("Keras runs on the backend 'jax' here")
    assert not done.stderr


@pytest.mark.parametrize("package", ["tensorflow", "keras"])
def test_a_missing_package(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"'{package}'.*edgepart\[tensorflow\]"):
        KERAS.load(Path("x.keras"))
