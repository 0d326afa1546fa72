"""Profiles on disk: written and read back, and every damage named."""

import json

import pytest
from sample_profiles import chain_profile, measured

from edgepart.errors import FileError
from edgepart.hardware import Cut, Middle, PartMemory, Profile
from edgepart.testing.hardware import example_device


@pytest.fixture
def sample():
    made = chain_profile({"a": 1.0, "b": 3.0, "c": 2.0}, [(0, 2, 2.0), (2, 3, 1.5)], example_device())
    memory = PartMemory(
        start=0, stop=3, resident_bytes=900, peak_bytes=1000, parameter_bytes=300, predicted_activation_bytes=80
    )
    cut = Cut(position=2, before=measured(2.1), after=measured(1.6))
    middle = Middle(start=1, stop=2, latency=measured(1.4))
    return made.model_copy(update={"cuts": (cut,), "middles": (middle,), "memory": (memory,)})


def test_what_is_saved_is_what_is_loaded(sample, tmp_path):
    sample.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json") == sample
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def test_memory_is_compared_with_what_was_predicted(sample):
    [one] = sample.memory
    assert (one.activation_bytes, one.difference_bytes) == (100, 20)
    assert sample.runtime_bytes == 1000 - 300 - 80


def test_a_profile_from_before_cuts_and_memory_is_read(sample, tmp_path):
    path = tmp_path / "profile.json"
    sample.save(path)
    document = json.loads(path.read_text())
    del document["cuts"], document["middles"], document["memory"], document["memory_note"]
    path.write_text(json.dumps(document))
    found = Profile.load(path)
    assert found == sample.model_copy(update={"cuts": (), "middles": (), "memory": ()})
    assert found.layer_latency_s() == {"a": 0.5, "b": 1.5, "c": 1.5}


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
        (
            change(["segments", 1], None),
            "one after another (after the first 2 of 3): profile the network again",
        ),
        (
            change(["segments", 0], None),
            "one after another (after the first 0 of 3): profile the network again",
        ),
        (change(["segments"], []), "one after another (after the first 0 of 3): profile the network again"),
        (change(["segments", 1, "stop"], 2), "the segments do not cover the layers one after another"),
        (change(["segments", 1, "stop"], 4), "the segments do not cover the layers one after another"),
        (change(["segments", 0, "latency"], None), "field 'segments.0.latency' is missing"),
        (change(["segments", 0, "parameter_bytes"], -1), "field 'segments.0.parameter_bytes'"),
        (change(["layers", 0, "latency", "median_s"], float("nan")), "field 'layers.0.latency.median_s'"),
        (change(["layers", 0, "latency", "median_s"], float("inf")), "field 'layers.0.latency.median_s'"),
        (change(["layers", 0, "macs"], -5), "field 'layers.0.macs'"),
        (change(["cuts", 0, "before", "median_s"], -1e-3), "field 'cuts.0.before.median_s'"),
        (change(["cuts", 0, "position"], 3), "the cuts do not lie one after another inside the network"),
        (change(["middles", 0, "start"], 0), "field 'middles.0.start'"),
        (change(["middles", 0, "stop"], 1), "a middle part that was measured does not lie inside the network"),
        (change(["middles", 0, "stop"], 3), "a middle part that was measured does not lie inside the network"),
        (change(["memory", 0, "peak_bytes"], -1), "field 'memory.0.peak_bytes'"),
        (change(["memory", 0, "stop"], 9), "a part whose memory was measured does not lie inside the network"),
        (change(["device", "memory_bytes"], -1), "field 'device.memory_bytes'"),
        (change(["device", "macs_per_s"], None), "field 'device.macs_per_s' is missing"),
        (change(["layers", 1, "name"], "z"), "the measured layers are not those of the graph"),
        (change(["layers", 2], None), "the measured layers are not those of the graph"),
        (change(["device", "macs_per_s"], 0), "field 'device.macs_per_s'"),
        (change(["graph", "layers"], []), "the graph has no layers"),
        (change(["graph", "outputs"], []), "the graph has no outputs"),
        (change(["colour"], "red"), "field 'colour'"),
        (change(["machine_load"], None), "field 'machine_load' is missing"),
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
