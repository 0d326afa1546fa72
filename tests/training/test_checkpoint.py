"""The saved state: bit by bit what was given, whole or not there."""

import numpy as np
import pytest
from safetensors import SafetensorError

from edgepart.errors import FileError
from edgepart.training import checkpoint


def test_arrays_of_every_kind_come_back_bit_by_bit(tmp_path):
    arrays = {
        "matrix": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "transposed": np.arange(12.0).reshape(3, 4).T,
        "step": np.array(7.0, dtype=np.float32),
        "count": np.array([2**62], dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    checkpoint.save(tmp_path / "state", arrays, {"epoch": 3, "losses": [0.1, float("inf")]})
    found, record = checkpoint.load(tmp_path / "state")
    assert record == {"epoch": 3, "losses": [0.1, float("inf")]}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()


def test_a_failed_save_leaves_the_old_state_and_nothing_else(tmp_path):
    checkpoint.save(tmp_path / "state", {"a": np.ones(2)}, {"epoch": 1})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "state", {"a": np.zeros(2)}, {"epoch": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert checkpoint.load(tmp_path / "state")[1] == {"epoch": 1}


def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    def full(*arguments):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(FileError, match=r"cannot write .*state: .*No space left on device"):
        checkpoint.save(tmp_path / "state", {"a": np.ones(2)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_state_cut_short_says_what_to_do(tmp_path, keep):
    checkpoint.save(tmp_path / "state", {"a": np.ones(200)}, {})
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(whole[:keep])
    with pytest.raises(FileError, match="delete it to start afresh"):
        checkpoint.load(tmp_path / "state")


def test_a_missing_state_is_named(tmp_path):
    with pytest.raises(FileError, match="gone does not exist"):
        checkpoint.load(tmp_path / "gone")
