"""Parts and programs on disk do in another process, without the user's code, what they do here."""

import json
import pickle
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from network_zoo import inputs, program, run_parts
from torch import nn

import edgepart
from edgepart.errors import ExportError, FileError, GraphError
from edgepart.frameworks import framework, slices
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.artefact import export_module
from edgepart.frameworks.torch.capture import capture
from edgepart.graph import Tensor

PT2 = runtime("torch")

ELSEWHERE = """
import json, sys
from pathlib import Path
import numpy as np
from edgepart.frameworks import framework
from edgepart.frameworks.runtimes import runtime

torch, pt2 = framework("torch"), runtime("torch")
torch.set_threads(1)
for folder in map(Path, sys.argv[1:]):
    known = dict(np.load(folder / "given.npz"))
    for file in sorted(folder.glob("*.pt2")):
        part = pt2.open(file)
        known |= part.run({name: known[name] for name in part.inputs})
    again = torch.open_program(folder / "program")
    whole = again.slice(None, None)
    known |= {f"whole {name}": array for name, array in whole.run(known).items()}
    np.savez(folder / "found.npz", **{name.replace("/", "|"): array for name, array in known.items()})
    (folder / "graph.json").write_text(json.dumps(again.graph.model_dump(mode="json")))
assert "network_zoo" not in sys.modules and "transformers" not in sys.modules
"""


def test_artefacts_and_programs_in_another_process(tmp_path):
    """Bit by bit, at another batch size and length than those they were captured with."""
    names = ("residual", "bert", "several", "brain_float", "unet")
    expected = {}
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        size = {"length": 7} if name == "bert" else {}
        given = inputs(name, 4, seed=5, **size)
        boundaries = program(name).graph.boundaries()
        parts = slices(program(name), [boundaries[len(boundaries) // 2]])
        expected[name] = run_parts(parts, given)
        for number, part in enumerate(parts):
            PT2.write(part, folder / f"{number}.pt2")
        program(name).save(folder / "program")
        np.savez(folder / "given.npz", **{key: tensor.numpy() for key, tensor in given.items()})
    folders = [str(tmp_path / name) for name in names]
    run = subprocess.run([sys.executable, "-c", ELSEWHERE, *folders], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for name in names:
        found, graph = dict(np.load(tmp_path / name / "found.npz")), program(name).graph
        for tensor, array in expected[name].items():
            np.testing.assert_array_equal(found[tensor], array)
        for tensor in graph.outputs:
            np.testing.assert_array_equal(found[f"whole {tensor}"], expected[name][tensor])
        assert json.loads((tmp_path / name / "graph.json").read_text()) == graph.model_dump(mode="json")


def test_an_artefact_is_called_and_checked_like_its_part(tmp_path):
    graph = program("bert").graph
    part = program("bert").slice(graph.boundaries()[9], graph.boundaries()[20])
    PT2.write(part, tmp_path / "part.pt2")
    artefact = PT2.open(tmp_path / "part.pt2")
    assert (artefact.inputs, artefact.outputs) == (part.inputs, part.outputs)
    given = run_parts([program("bert").slice(None, graph.boundaries()[9])], inputs("bert", 2))
    with pytest.raises(GraphError, match="missing"):
        artefact.run({})
    wrong = {name: given[name][:1] if number else given[name] for number, name in enumerate(part.inputs)}
    assert len(wrong) > 1
    with pytest.raises(GraphError, match="with batch = 2"):
        artefact.run(wrong)


def test_an_artefact_holds_the_weights_of_its_part_and_nothing_else(tmp_path):
    graph = program("bert").graph
    middle = graph.boundaries()[len(graph.layers) // 2]
    for number, part in enumerate(slices(program("bert"), [middle])):
        file = tmp_path / f"{number}.pt2"
        PT2.write(part, file)
        with zipfile.ZipFile(file) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        held = {name: size for name, size in sizes.items() if "/weight_" in name or "/tensor_" in name}
        assert sum(held.values()) == sum(part.parameters.values())
        # torch keeps a place for pickled example inputs
        assert all(size == 0 for name, size in sizes.items() if "sample_inputs" in name)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, feature, scale):
        return self.linear(feature.mean((2, 3))) * scale, feature


def test_any_module_can_be_exported(tmp_path):
    """As a bundle does with stages that have heads inside; names need not be Python's."""
    specs = [
        Tensor(name="layer.1:0", shape=("batch", 8, "height", 4), dtype="float32", bytes=0),
        Tensor(name="scale", shape=(1,), dtype="float32", bytes=4),
    ]
    head = Head()
    outputs = [
        Tensor(name="exit 1", shape=("batch", 3), dtype="float32", bytes=12),
        specs[0].model_copy(update={"name": "layer.1:0 again"}),
    ]
    signature = Signature.of(specs, outputs, {"batch": 1, "height": 6})
    export_module(head, signature, tmp_path / "head.pt2")
    signature.save(Signature.beside(tmp_path / "head.pt2"))
    artefact = PT2.open(tmp_path / "head.pt2")
    for batch, height in ((1, 6), (5, 3)):
        x, scale = np.ones((batch, 8, height, 4), dtype=np.float32), np.array([2], dtype=np.float32)
        found = artefact.run({"layer.1:0": x, "scale": scale})
        with torch.no_grad():
            expected = head(torch.from_numpy(x), torch.from_numpy(scale))[0]
        np.testing.assert_array_equal(found["exit 1"], expected.numpy())
        np.testing.assert_array_equal(found["layer.1:0 again"], x)


class Folded(nn.Module):
    """Attention heads folded into the batch, as DeBERTa does: tensors of 2*batch cross."""

    def __init__(self):
        super().__init__()
        self.project, self.norm, self.mix, self.out = nn.Linear(8, 8), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, x):
        heads = self.project(x).view(x.shape[0], -1, 2, 4).transpose(1, 2).reshape(-1, x.shape[1], 4)
        heads = torch.tanh(self.mix(self.norm(heads)))
        return self.out(heads.view(-1, 2, x.shape[1], 4).transpose(1, 2).flatten(2))


def test_one_sample_runs_where_several_rows_belong_to_it(tmp_path):
    torch.manual_seed(0)
    captured = framework("torch").program(Folded().eval(), torch.randn(2, 5, 8))
    assert any(tensor.shape[0] == "2*batch" for tensor in captured.graph.tensors)
    for boundary in captured.graph.boundaries():
        for batch in (1, 3):
            known = {"x": torch.randn(batch, 5, 8).numpy()}
            for part in slices(captured, [boundary]):
                PT2.write(part, tmp_path / "part.pt2")
                made = part.run(known)
                for name, array in PT2.open(tmp_path / "part.pt2").run(known).items():
                    np.testing.assert_array_equal(array, made[name])
                known |= made


def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path):
    part = program("residual").slice(None, None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(FileError, match=r"cannot write .*part\.pt2: File too large"):
            PT2.write(part, tmp_path / "part.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_artefact_does_not_tell_where_it_was_made(tmp_path):
    PT2.write(program("residual").slice(None, None), tmp_path / "part.pt2")
    with zipfile.ZipFile(tmp_path / "part.pt2") as archive:
        assert not [
            name for name in archive.namelist() if str(Path(edgepart.__file__).parent).encode() in archive.read(name)
        ]


def test_a_module_that_fixes_the_batch_is_not_written(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            return (x.view(2, 4),)

    spec = Tensor(name="x", shape=("batch", 4), dtype="float32", bytes=16)
    signature = Signature.of([spec], [spec.model_copy(update={"name": "y"})], {"batch": 1})
    with pytest.raises(ExportError, match="'batch' of its input 'x'"):
        export_module(Fixed(), signature, tmp_path / "fixed.pt2")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_refused_in_one_sentence(tmp_path):
    file = tmp_path / "part.pt2"
    PT2.write(program("several").slice(None, None), file)
    whole = file.read_bytes()
    with pytest.raises(FileError, match="does not exist"):
        PT2.open(tmp_path / "none.pt2")
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(FileError, match=r"part\.pt2 is not a complete exported program") as caught:
            PT2.open(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(whole)
    (tmp_path / "part.pt2.json").unlink()
    with pytest.raises(FileError, match=r"part\.pt2\.json does not exist"):
        PT2.open(file)


def _rewritten(file, member, change):
    """An archive whose one member is changed, or added."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    found = next((name for name in entries if name.endswith(member)), f"archive/{member}")
    entries[found] = change(entries.get(found, b""))
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


_CALL = "__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    ("member", "change", "words"),
    [
        ("models/model.json", lambda x: re.sub(rb'"expr_str": "[^"]*"', f'"expr_str": "{_CALL}"'.encode(), x), "size"),
        (
            "models/model.json",
            lambda x: x.replace(b"torch.ops.aten.linear.default", b"torch.os.system"),
            "torch.os.system",
        ),
        ("models/model.json", lambda x: x.replace(b'"name": "linear"', b'"name": "linear=print()"'), "linear=print"),
        (
            "model_weights_config.json",
            lambda x: x.replace(b'"use_pickle": false', b'"use_pickle": true'),
            "plain numbers",
        ),
        ("sample_inputs/model.pt", lambda x: pickle.dumps({"a": 1}), "sample_inputs"),
        ("data/constants/opaque_obj_0", lambda x: pickle.dumps({"a": 1}), "opaque_obj"),
        ("data/aotinductor/model/model.so", lambda x: b"ELF", "aotinductor"),
    ],
)
def test_nothing_in_a_file_runs(member, change, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "part.pt2"
    PT2.write(program("several").slice(None, None), file)
    _rewritten(file, member, change)
    with pytest.raises(FileError, match="could run code") as caught:
        PT2.open(file)
    assert words in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_damaged_programs_are_refused_in_one_sentence(tmp_path):
    program("several").save(tmp_path / "program")
    torch_framework = framework("torch")
    for name in ("graph.json", "program.pt2", "ties.json", "example.safetensors"):
        kept = (tmp_path / "program" / name).read_bytes()
        (tmp_path / "program" / name).write_bytes(b"x")
        with pytest.raises(FileError, match=name.replace(".", r"\.")):
            torch_framework.open_program(tmp_path / "program")
        (tmp_path / "program" / name).write_bytes(kept)
    program("tied").graph.save(tmp_path / "program" / "graph.json")
    with pytest.raises(FileError, match="differ"):
        torch_framework.open_program(tmp_path / "program")


def test_a_program_is_saved_with_the_weights_of_now(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    made = capture(model, torch.ones(2, 4))
    with torch.no_grad():
        model[0].weight.fill_(0.5)
    model[2].bias = nn.Parameter(torch.tensor([7.0, 8.0]))
    made.update(model)
    made.save(tmp_path / "program")
    again = framework("torch").open_program(tmp_path / "program")
    (found,) = again.slice(None, None).run({"input": np.ones((1, 4), dtype=np.float32)}).values()
    with torch.no_grad():
        np.testing.assert_array_equal(found, model(torch.ones(1, 4)).numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dense", "tied", "recurrent", "chunks", "views", "frozen", "attention", "gpt2", "vit"]
)
def test_the_zoo_on_disk(name, tmp_path):
    program(name).save(tmp_path / "program")
    again = framework("torch").open_program(tmp_path / "program")
    assert again.graph == program(name).graph
    boundaries = again.graph.boundaries()
    given = inputs(name, 3, seed=2)
    known = {key: tensor.numpy().copy() for key, tensor in given.items()}
    expected = run_parts([program(name).slice(None, None)], given)
    for part in slices(again, boundaries[:: max(1, len(boundaries) // 3)]):
        PT2.write(part, tmp_path / "part.pt2")
        known |= PT2.open(tmp_path / "part.pt2").run(known)
    for output in again.graph.outputs:
        np.testing.assert_array_equal(known[output], expected[output])
