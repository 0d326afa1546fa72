"""Profiles of a fake framework, measured in the real child process."""

import json
import os
import subprocess
import sys

import pytest
from fake_framework import LAYERS, SEGMENTS, FakeFramework, FakeProgram, graph, installed, peak

from edgepart.errors import ProfileError, UnknownName
from edgepart.hardware import Profile
from edgepart.profiling import memory, profile, profiler, require_this
from edgepart.profiling.profiler import measure
from edgepart.profiling.segments import edges, segments


@pytest.fixture
def framework(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch)
    return FakeFramework()


def test_segments_end_where_one_feature_tensor_crosses():
    assert segments(graph()) == SEGMENTS


def test_edges_enclose_exactly_the_layers_of_a_segment():
    whole = graph()
    for start, stop in [*SEGMENTS, (0, len(LAYERS)), (2, 3)]:
        low, high = edges(whole.boundaries(), start, stop)
        inside = (high.layers if high else set(whole.position)) - (low.layers if low else set())
        assert whole.in_order(inside) == tuple(x[0] for x in LAYERS[start:stop])


def test_a_profile_holds_every_layer_and_segment(framework, tmp_path):
    measured = measure(framework, FakeProgram(), quick=True)
    assert measured.graph == graph()
    assert (measured.runtime, measured.runtime_version, measured.threads) == ("fake", "3.4", 1)
    assert [(one.start, one.stop) for one in measured.segments] == SEGMENTS
    timings = [measured.end_to_end, *(x.latency for x in measured.layers), *(x.latency for x in measured.segments)]
    assert all(x.runs >= 10 and x.median_s > 0 for x in timings)
    # a segment of one layer is that layer alone: measured once
    assert measured.segments[2].latency == measured.layers[5].latency
    for one in measured.segments:
        assert one.macs == sum(layer.macs for layer in measured.layers[one.start : one.stop])
        assert one.activation_bytes == peak(one.start, one.stop)
    assert sum(one.parameter_bytes for one in measured.segments) == sum(graph().parameters.values())
    assert sum(one.parameter_bytes for one in measured.layers) == sum(graph().parameters.values())
    latency = measured.layer_latency_s()
    assert sum(latency.values()) + measured.part_overhead_s == pytest.approx(measured.end_to_end.median_s)
    assert all(cut.before.median_s > 0 and cut.after.median_s > 0 for cut in measured.cuts)
    assert len(measured.middles) == len(measured.cuts) // 2
    assert all(middle.latency.median_s > 0 for middle in measured.middles)
    [whole] = measured.memory
    assert (whole.start, whole.stop) == (0, len(LAYERS))
    assert whole.peak_bytes >= whole.resident_bytes > 1e6
    assert whole.predicted_activation_bytes == peak(0, len(LAYERS))
    assert measured.runtime_bytes > 1e6
    assert 0 <= measured.machine_load.mean_cores <= measured.machine_load.maximum_cores
    device = measured.device
    assert (device.name, device.basis) == ("this", "measured")
    assert device.macs_per_s > 0
    assert device.memory_bytes > 1e8
    assert device.facts["processor"]
    measured.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json") == measured


def test_the_python_call_finds_the_framework_and_measures(framework, monkeypatch):
    monkeypatch.setattr(profiler, "framework_of", lambda model: framework)
    measured = profile(framework, quick=True)
    assert measured.graph == graph()
    with pytest.raises(ProfileError, match="--device this"):
        profile(framework, device="phone")


def test_threads_reach_the_process_that_measures(framework):
    measured = measure(framework, FakeProgram(), threads=2, quick=True)
    assert measured.threads == 2
    with pytest.raises(ProfileError, match="0 threads"):
        measure(framework, FakeProgram(), threads=0)


@pytest.mark.parametrize(
    ("misbehaviour", "message"),
    [
        ("killed", "the process that measured 'fake network' was killed, probably because memory ran out"),
        ("abort", "the process that measured 'fake network' crashed \\(SIGABRT\\)"),
        ("raise", "failed: ValueError: the operator 'frobnicate' is not implemented"),
        ("mistake", "'fake network' cannot be measured: the layer 'left' is not known"),
    ],
)
def test_a_process_that_fails_is_one_sentence(framework, misbehaviour, message):
    with pytest.raises(ProfileError, match=message) as caught:
        measure(framework, FakeProgram(misbehaviour), quick=True)
    assert "\n" not in str(caught.value)


def test_memory_that_cannot_be_measured_is_told_and_the_profile_stands(framework, monkeypatch):
    found = measure(framework, FakeProgram("memory"), quick=True)
    assert found.memory == ()
    assert found.runtime_bytes is None
    assert found.memory_note == "not measured: ValueError: the artefact cannot be opened twice"
    monkeypatch.setattr(memory, "can_measure", lambda: False)
    assert "does not count the most memory" in measure(framework, FakeProgram(), quick=True).memory_note


def test_a_framework_that_the_process_lacks_is_named(tmp_path):
    with pytest.raises(ProfileError, match="unknown framework 'fake'"):
        measure(FakeFramework(), FakeProgram(), quick=True)


def test_the_worker_writes_events_only_on_stdout(framework, tmp_path):
    FakeProgram().save(tmp_path / "program")
    (tmp_path / "request.json").write_text(
        json.dumps({"framework": "fake", "runtime": None, "threads": 1, "quick": True})
    )
    command = [sys.executable, "-m", "edgepart.profiling.worker", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    shares = [event["done"] for event in events[:-1]]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert events[-1]["event"] == "result"
    assert "the framework talks on stdout" in done.stderr


def test_only_this_machine_can_be_profiled():
    require_this("this")
    with pytest.raises(ProfileError, match="--tier NAME=raspberry-pi-4"):
        require_this("raspberry-pi-4")
    with pytest.raises(UnknownName, match="did you mean raspberry-pi-4"):
        require_this("raspbery-pi-4")
