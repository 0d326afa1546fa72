"""What 'edgepart profile' says; the measuring is replaced by a finished profile."""

import json

import pytest

from edgepart import profiling
from edgepart.cli.main import main
from edgepart.frameworks import model
from edgepart.frameworks.model import LoadedModel
from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware import Cut, Device, LayerProfile, Load, Measurement, PartMemory, Profile, Segment


def measured(load=0.1, uncounted=()):
    """Two layers, two segments; their sum is 10 % above the whole."""
    tensors = (
        Tensor(name="x", shape=("batch", 250), dtype="float32", bytes=1000, consumers=("stem",)),
        Tensor(name="stem", shape=("batch", 500), dtype="float32", bytes=2000, producer="stem", consumers=("head",)),
        Tensor(name="head", shape=("batch", 10), dtype="float32", bytes=40, producer="head", feature=True),
    )
    layers = (
        Layer(name="stem", module="stem", kind="Linear", ops=("linear",), inputs=("x",), outputs=("stem",),
              parameters=("w",), macs=125000, activation_bytes=2000),
        Layer(name="head", module="head", kind="Linear", ops=("linear",), inputs=("stem",), outputs=("head",),
              macs=5000, activation_bytes=40, uncounted=uncounted),
    )  # fmt: skip
    graph = Graph(
        name="Net", framework="torch", symbols={"batch": 1}, layers=layers, tensors=tensors, inputs=("x",),
        outputs=("head",), parameters={"w": 500000},
    )  # fmt: skip
    times = {"stem": 8e-4, "head": 3e-4}

    def taken(seconds):
        return Measurement(median_s=seconds, spread_s=seconds / 10, runs=25)

    return Profile(
        graph=graph,
        device=Device(
            name="this", title="this machine", tier="edge", memory_bytes=10**9, macs_per_s=2.5e10, cores=4,
            basis="measured", source="edgepart profile", facts={"processor": "Model T"},
        ),
        runtime="torch",
        runtime_version="2.13.0",
        threads=2,
        layers=tuple(
            LayerProfile(name=x.name, latency=taken(times[x.name]), macs=x.macs, parameter_bytes=0,
                         activation_bytes=x.activation_bytes)
            for x in layers
        ),
        segments=tuple(
            Segment(start=i, stop=i + 1, latency=taken(times[x.name]), macs=x.macs, parameter_bytes=0,
                    activation_bytes=x.activation_bytes)
            for i, x in enumerate(layers)
        ),
        end_to_end=taken(1e-3),
        machine_load=Load(mean_cores=load, maximum_cores=2 * load),
    )  # fmt: skip


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Collects what was asked of the profiler; nothing is measured."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def answer(result):
        loaded = LoadedModel(name="make", model="the model", example="the example", notes=("it has no tokenizer",))
        monkeypatch.setattr(model, "load_model", lambda spec: calls.append(spec) or loaded)
        monkeypatch.setattr(profiling, "profile", lambda *given, **options: calls.append((given, options)) or result)
        return calls

    return answer


def test_a_folder_is_no_place_for_a_profile(asked, tmp_path, capsys):
    calls = asked(measured())
    assert main(["profile", "net.py:make", "-o", str(tmp_path)]) == 2
    assert "is a folder: give a file for the profile" in capsys.readouterr().err
    assert calls == []


def test_the_table(asked, capsys):
    calls = asked(measured())
    assert main(["profile", "net.py:make", "--threads", "2", "--quick"]) == 0
    options = {"device": "this", "runtime": None, "threads": 2, "quick": True}
    assert calls == ["net.py:make", (("the model", "the example"), options)]
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    fingerprint = measured().graph.fingerprint
    assert [line for line in lines if not line.startswith("---")] == [
        "what value",
        f"network Net ({fingerprint})",
        "runtime torch 2.13.0, 2 threads, one sample at a time",
        "machine Model T",
        "layers 2 in 2 segments",
        "MACs 130 k",
        "parameters 500 kB",
        "activations, most at once 3 kB",
        "end to end 1 ms ± 50 µs (25 runs)",
        "sum of segments 1.1 ms (+10.0 %)",
        "cuts none measured: parts are sums of their layers",
        "effective rate 25.0 GMAC/s over the reference networks",
        "load of other processes 0.1 cores on average, 0.2 at most",
        "",
        "slowest layers kind latency share MACs",
        "stem Linear 800 µs 72.7 % 125 k",
        "head Linear 300 µs 27.3 % 5.00 k",
        "",
        "written to profile.json",
    ]
    assert printed.err == "it has no tokenizer\n"
    assert Profile.load("profile.json") == measured()


def test_a_busy_machine_and_uncounted_operations_are_told(asked, capsys):
    asked(measured(load=1.5, uncounted=("fold",)))
    assert main(["profile", "net.py:make"]) == 0
    printed = capsys.readouterr()
    assert "Other processes kept 1.5 cores busy" in printed.err
    assert "MACs not counted of        fold" in printed.out


def test_cuts_and_memory_are_told(asked, capsys):
    memory = PartMemory(start=0, stop=2, resident_bytes=60_000_000, peak_bytes=60_004_000, parameter_bytes=500_000,
                        predicted_activation_bytes=3000)  # fmt: skip
    before, after = (Measurement(median_s=one, spread_s=0, runs=8) for one in (8.5e-4, 2.5e-4))
    asked(measured().model_copy(update={
        "cuts": (Cut(position=1, before=before, after=after),),
        "memory": (memory, memory.model_copy(update={"stop": 1, "peak_bytes": 60_001_000})),
    }))  # fmt: skip
    assert main(["profile", "net.py:make"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "cuts both sides of 1 of 1 measured" in lines
    assert any(line.startswith("each part on top of its layers ") for line in lines)
    assert "activations of the whole 4 kB measured, 3 kB predicted (+1 kB)" in lines
    assert "activations of layers 1 to 1 1 kB measured, 3 kB predicted (-2 kB)" in lines
    assert "the runtime itself 59.5 MB beyond parameters and activations" in lines


def test_pieces_that_do_not_add_up_are_told_where_no_cut_corrects_them(asked, capsys):
    whole = Measurement(median_s=5e-4, spread_s=0, runs=8)
    asked(measured().model_copy(update={"end_to_end": whole, "memory_note": "not measured: no such file"}))
    assert main(["profile", "net.py:make"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "No cuts were measured, and the pieces take much more than the whole" in said
    assert "Memory was not measured: no such file." in said


def test_json(asked, capsys):
    asked(measured(load=1.5))
    assert main(["profile", "net.py:make", "--json", "-o", "out.json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["network"], found["layers"], found["segments"], found["threads"]) == ("Net", 2, 2, 2)
    assert found["end_to_end"] == {"median_s": 1e-3, "spread_s": 1e-4, "runs": 25}
    assert found["segment_sum_difference"] == pytest.approx(0.1)
    assert found["machine_load"]["mean_cores"] == 1.5
    assert (found["cuts"], found["part_overhead_s"], found["runtime_bytes"], found["memory"]) == (0, 0.0, None, [])
    assert found["file"] == "out.json"
    assert Profile.load("out.json") == measured(load=1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "raspberry-pi-4"], "run 'edgepart profile' there with --device this"),
        (["--device", "raspberypi4"], "did you mean raspberry-pi-4"),
        (["-o", "nowhere/profile.json"], "nowhere does not exist"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text("raise RuntimeError('must not be run')\n")
    assert main(["profile", "network.py:make", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split())
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["network.py"]
