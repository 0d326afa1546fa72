"""Profiles on disk: written and read back, and every damage named."""

import json

import pytest
from sample_profiles import chain_profile

from edgepart.errors import FileError
from edgepart.hardware import Profile
from edgepart.testing.hardware import example_device


@pytest.fixture
def sample():
    return chain_profile({"a": 1.0, "b": 3.0, "c": 2.0}, [(0, 2, 2.0), (2, 3, 1.5)], example_device())


def test_what_is_saved_is_what_is_loaded(sample, tmp_path):
    sample.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json") == sample
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def test_the_sum_of_segments_is_compared_with_the_whole(sample):
    assert sample.segment_sum_s == 3.5
    assert sample.end_to_end.median_s == pytest.approx(3.85)


def change(path, value):
    """A function that sets ``value`` at a path of keys; None removes it."""

    def apply(document):
        *parents, last = path
        inside = document
        for key in parents:
            inside = inside[key]
        if value is None:
            del inside[last]
        else:
            inside[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (change(["end_to_end", "median_s"], -1), "field 'end_to_end.median_s'"),
        (change(["segments", 0, "latency", "runs"], 0), "field 'segments.0.latency.runs'"),
        (change(["segments", 1, "start"], 1), "the segments do not cover the layers one after another"),
        (change(["segments", 1], None), "the segments do not cover the layers one after another"),
        (change(["layers", 1, "name"], "z"), "the measured layers are not those of the graph"),
        (change(["layers", 2], None), "the measured layers are not those of the graph"),
        (change(["device", "macs_per_s"], 0), "field 'device.macs_per_s'"),
        (change(["graph", "layers"], []), "the graph has no layers"),
        (change(["colour"], "red"), "field 'colour'"),
        (change(["machine_load"], None), "field 'machine_load': Field required"),
        (change(["kind"], "edgepart.plan"), "holds edgepart.plan, expected edgepart.profile"),
        (change(["version"], 99), "format version 99"),
    ],
)
def test_damage_is_named(sample, tmp_path, damage, reason):
    path = tmp_path / "profile.json"
    sample.save(path)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(FileError) as caught:
        Profile.load(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 100, 1000])
def test_a_file_cut_short_is_named(sample, tmp_path, kept):
    path = tmp_path / "profile.json"
    sample.save(path)
    path.write_text(path.read_text()[:kept])
    with pytest.raises(FileError, match="was it cut short"):
        Profile.load(path)
