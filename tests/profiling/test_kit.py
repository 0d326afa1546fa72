"""Kits: what is measured with them where edgepart is not installed, and the profiles that are made of it."""

import itertools
import json
import shutil

import kit_network
import pytest

from edgepart.cli.main import main
from edgepart.errors import FileError, ProfileError
from edgepart.frameworks import framework
from edgepart.hardware import Measurement, Profile
from edgepart.profiling.kit import CUTS, KitMeasurements, from_kit, write_kit
from edgepart.profiling.segments import segments


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return kit_network.save(tmp_path_factory.mktemp("network") / "small.onnx")


@pytest.fixture(scope="module")
def program(network):
    used = framework("onnx")
    return used.program(*used.load(network))


@pytest.fixture(scope="module")
def kit(program, tmp_path_factory):
    """A kit, and in it what it measured."""
    folder = tmp_path_factory.mktemp("kits") / "kit"
    assert write_kit(framework("onnx"), program, folder) == "onnxruntime"
    done = kit_network.run(folder, "--quick")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"written to {folder / 'measurements.json'}\n"
    return folder


@pytest.fixture
def measured(kit):
    return KitMeasurements.load(kit / "measurements.json")


def test_a_kit_times_every_segment_some_cuts_and_the_whole(kit, measured, program):
    assert [(one.start, one.stop) for one in measured.pieces] == segments(program.graph)
    assert len(measured.cuts) == CUTS
    every = [one.latency for one in measured.pieces] + [measured.end_to_end]
    every += [one for cut in measured.cuts for one in (cut.before, cut.after, cut.whole)]
    positions = [cut.position for cut in measured.cuts]
    assert [(one.start, one.stop) for one in measured.middles] == list(itertools.pairwise(positions))
    every += [one for middle in measured.middles for one in (middle.latency, middle.whole)]
    assert all(0 < one.median_s < 1 and one.runs >= 10 for one in every)
    assert measured.wake_up is not None
    assert measured.wake_up.runs >= 10
    assert abs(measured.wake_up.median_s) < 0.1
    assert (measured.runtime, measured.threads, measured.network) == ("onnxruntime", 1, program.graph.name)
    assert not list(kit.glob("*.part"))


def test_the_profile_holds_what_was_measured(measured, program, tmp_path):
    profile = from_kit(program.graph, measured, "board")
    assert profile.end_to_end == measured.end_to_end
    assert [one.latency for one in profile.segments] == [one.latency for one in measured.pieces]
    for segment in profile.segments:
        inside = profile.layers[segment.start : segment.stop]
        assert sum(one.latency.median_s for one in inside) == pytest.approx(segment.latency.median_s)
    macs = sum(layer.macs for layer in program.graph.layers)
    assert profile.device.macs_per_s == pytest.approx(macs / measured.end_to_end.median_s, rel=1e-3)
    assert profile.wake_up_s == max(0.0, measured.wake_up.median_s)
    assert (profile.device.name, profile.device.basis) == ("board", "measured")
    profile.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json") == profile


def test_cuts_are_told_relative_to_the_whole_beside_them(measured, program):
    def taken(seconds):
        return Measurement(median_s=seconds, spread_s=0, runs=10)

    cut = measured.cuts[0].model_copy(update={"before": taken(1.0), "after": taken(3.0), "whole": taken(4.0)})
    middle = measured.middles[0].model_copy(update={"latency": taken(2.0), "whole": taken(8.0)})
    changes = {"cuts": (cut,), "middles": (middle,), "end_to_end": taken(2.0)}
    told = from_kit(program.graph, measured.model_copy(update=changes), "board")
    assert [(one.before.median_s, one.after.median_s) for one in told.cuts] == [(0.5, 1.5)]
    assert [(one.start, one.stop, one.latency.median_s) for one in told.middles] == [(middle.start, middle.stop, 0.5)]


def test_measurements_of_an_older_kit_know_nothing_of_waiting_and_of_middle_parts(kit, program, tmp_path):
    value = json.loads((kit / "measurements.json").read_text())
    del value["wake_up"], value["middles"]
    (tmp_path / "older.json").write_text(json.dumps(value))
    profile = from_kit(program.graph, KitMeasurements.load(tmp_path / "older.json"), "board")
    assert (profile.wake_up, profile.wake_up_s, profile.middles) == (None, 0.0, ())


def test_measurements_of_another_network_are_refused(measured, tmp_path):
    used = framework("onnx")
    other = used.program(*used.load(kit_network.save(tmp_path / "other.onnx", width=8)))
    with pytest.raises(ProfileError, match=r"the measurements are of 'small' .*: write the kit again"):
        from_kit(other.graph, measured, "board")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "edgepart.plan"}, "holds edgepart.plan, expected edgepart.kit-measurements"),
        ({"threads": 0}, "field 'threads'"),
        ({"end_to_end": {"median_s": -1, "spread_s": 0, "runs": 1}}, "field 'end_to_end.median_s'"),
    ],
)
def test_damaged_measurements_are_one_sentence(kit, change, message, tmp_path):
    value = json.loads((kit / "measurements.json").read_text()) | change
    (tmp_path / "m.json").write_text(json.dumps(value))
    with pytest.raises(FileError, match=message):
        KitMeasurements.load(tmp_path / "m.json")


def test_a_missing_package_and_a_wrong_number_are_one_sentence_there(kit, tmp_path):
    shutil.copytree(kit, tmp_path / "kit")
    (tmp_path / "kit" / "measurements.json").unlink()
    without = kit_network.run(tmp_path / "kit", hidden=("onnxruntime",))
    assert without.returncode == 2
    assert without.stderr.startswith("run.py: the package onnxruntime is missing")
    assert without.stderr.count("\n") == 1
    none = kit_network.run(tmp_path / "kit", "--threads", "0")
    assert (none.returncode, none.stderr) == (2, "run.py: --threads 0 cannot run anything: give 1 or more\n")
    assert not (tmp_path / "kit" / "measurements.json").exists()


def test_only_a_kit_is_written_over(program, kit, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    with pytest.raises(ProfileError, match="exists and is no kit"):
        write_kit(framework("onnx"), program, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"
    shutil.copytree(kit, tmp_path / "kit")
    write_kit(framework("onnx"), program, tmp_path / "kit")
    assert not (tmp_path / "kit" / "measurements.json").exists()


def test_a_runtime_that_no_kit_knows_is_refused(program, tmp_path):
    with pytest.raises(ProfileError, match="cannot run on 'triton': give --runtime onnxruntime or executorch"):
        write_kit(framework("onnx"), program, tmp_path / "kit", "triton")


def test_the_commands(network, kit, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", str(network), "--kit", "mine"]) == 0
    assert "python3 mine/run.py" in capsys.readouterr().out
    assert (tmp_path / "mine" / "run.py").is_file()
    assert main(["profile", str(network), "--kit", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": "mine", "runtime": "onnxruntime"}
    assert main(["profile", str(network), "--from-kit", str(kit / "measurements.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"], found["runtime"], found["cuts"]) == ("small", "onnxruntime", CUTS)
    assert Profile.load("profile.json").memory_note == "not measured: a kit measures times only"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kit", "a", "--from-kit", "b"], "--kit and --from-kit exclude each other"),
        (["--kit", "a", "--threads", "2"], "--threads has no part in --kit"),
        (["--from-kit", "a", "--runtime", "onnxruntime"], "--runtime has no part in --from-kit"),
        (["--from-kit", "missing.json"], "missing.json does not exist"),
        (["--kit", "nowhere/kit"], "does not exist"),
        (["--remote-python", "python4"], "--remote-python belongs to --on"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", str(network), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_kit_for_executorch(tmp_path):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()
    used = framework("torch")
    program = used.program(model, torch.randn(2, 8))
    assert write_kit(used, program, tmp_path / "kit", "executorch") == "executorch"
    done = kit_network.run(tmp_path / "kit", "--quick", hidden=("edgepart", "tensorflow", "onnxruntime"))
    assert done.returncode == 0, done.stderr
    profile = from_kit(program.graph, KitMeasurements.load(tmp_path / "kit" / "measurements.json"), "board")
    assert (profile.runtime, len(profile.layers)) == ("executorch", 3)
