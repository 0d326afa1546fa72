"""The cache of the frozen backbone's features: each sample once, resumable, with clear limits."""

import errno
import shutil
from collections import namedtuple

import numpy as np
import pytest
from numpy_learner import Points, StopAfter

import edgepart.training.features
from edgepart.errors import FileError, TrainingError, TrainingInterrupted
from edgepart.training.features import cache_features

SAMPLES = Points(50, seed=3)


class Backbone:
    """Counts how often it sees a sample."""

    def __init__(self):
        self.calls = 0

    def __call__(self, arrays):
        self.calls += 1
        return {"early": arrays["x"] * 2, "final": arrays["x"][:, :3] - 1}


def cache(folder, backbone=None, stop=lambda: False, samples=SAMPLES):
    return cache_features(backbone or Backbone(), samples, folder, batch_size=8, what="training sample", stop=stop)


def test_features_are_the_backbones_in_the_order_of_the_samples(tmp_path):
    features = cache(tmp_path / "f")
    some = np.array([49, 0, 7, 7])
    assert np.array_equal(features.batch(some)["early"], SAMPLES.x[some] * 2)
    assert np.array_equal(features.batch(some)["final"], SAMPLES.x[some, :3] - 1)
    assert features.labels is SAMPLES.labels


def test_the_files_are_plain_arrays(tmp_path):
    cache(tmp_path / "f")
    stored = np.load(tmp_path / "f" / "0.npy", allow_pickle=False, mmap_mode="r")
    assert np.array_equal(stored, SAMPLES.x * 2)


@pytest.mark.parametrize("number", range(1, 8))
def test_an_interrupted_cache_goes_on_and_computes_nothing_twice(tmp_path, number):
    first, second = Backbone(), Backbone()
    with pytest.raises(TrainingInterrupted, match=f"after batch {number} of 7 .* run the same command again"):
        cache(tmp_path / "f", first, StopAfter(number))
    features = cache(tmp_path / "f", second)
    assert (first.calls, second.calls) == (number, 7 - number)
    assert np.array_equal(features.batch(np.arange(50))["early"], SAMPLES.x * 2)


def test_a_head_that_leaves_a_varying_dimension_is_named(tmp_path):
    class Varying(Backbone):
        def __call__(self, arrays):
            return {"late": np.zeros((len(arrays["x"]), 5 + self.calls)), **super().__call__(arrays)}

    with pytest.raises(TrainingError, match=r"exit 'late' reduces one sample to shape \(6,\) and another to \(5,\)"):
        cache(tmp_path / "f", Varying())


def test_a_feature_that_is_nan_names_sample_and_exit(tmp_path):
    samples = Points(50, seed=3)
    samples.x[31, 2] = np.nan
    with pytest.raises(TrainingError, match="NaN or infinite value for training sample 31 at exit 'early'"):
        cache(tmp_path / "f", samples=samples)


def test_a_disk_too_small_is_found_out_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    with pytest.raises(FileError, match=r"50 samples need \d.* kB, .* has 100 B free"):
        cache(tmp_path / "f")
    assert list((tmp_path / "f").iterdir()) == []


def test_a_file_over_the_users_limit_is_one_sentence_and_the_same_command_goes_on(tmp_path, monkeypatch):
    def refuse(file, **_):
        raise OSError(errno.EFBIG, "File too large")

    with monkeypatch.context() as limited:
        limited.setattr(edgepart.training.features, "open_memmap", refuse)
        with pytest.raises(FileError, match=r"cannot write the features of 50 samples to .*0\.npy: File too large"):
            cache(tmp_path / "f")
    assert len(cache(tmp_path / "f").labels) == 50


def test_a_sample_that_the_network_cannot_compute_is_named(tmp_path):
    def looked_up(arrays):
        if (arrays["x"] == SAMPLES.x[31]).all(axis=1).any():
            raise RuntimeError("index out of range\n  in node 'embedding'")
        return {"early": arrays["x"]}

    with pytest.raises(
        TrainingError, match=r"cannot compute training sample 31 \(index out of range\): check the data"
    ):
        cache(tmp_path / "f", looked_up)


def test_a_batch_that_is_too_much_at_once_is_said_to_be(tmp_path):
    def small(arrays):
        if len(arrays["x"]) > 4:
            raise MemoryError
        return {"early": arrays["x"]}

    with pytest.raises(TrainingError, match=r"cannot compute 8 training samples at once \(MemoryError\)"):
        cache(tmp_path / "f", small)
