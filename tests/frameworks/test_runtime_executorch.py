"""Torch parts as ExecuTorch programs: lengths, types, threads, and what cannot be written."""

import sys
import threading

import numpy as np
import pytest
import torch
from network_zoo import NETWORKS, TOKENS, as_values, inputs, program
from torch import nn

from edgepart.errors import ExportError, FileError, GraphError, MissingExtra
from edgepart.frameworks import slices
from edgepart.frameworks.rows import join, require_rows, split
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.capture import capture
from edgepart.frameworks.torch.to_half import to_half
from edgepart.graph import Tensor


@pytest.fixture(scope="module")
def executorch():
    return runtime("executorch")


@pytest.fixture(scope="module")
def tied(tmp_path_factory, executorch):
    """Tokens of any length to logits, and the part."""
    path, part = tmp_path_factory.mktemp("tied") / "part.pte", program("tied").slice(None, None)
    executorch.write(part, path)
    return path, part


def difference(part, expected, found):
    largest = 0.0
    for spec in part.signature.outputs:
        made, wanted = (as_values(arrays[spec.name], spec.dtype).astype(float) for arrays in (found, expected))
        assert made.shape == wanted.shape
        if not spec.is_float or not np.abs(wanted).max():
            assert not (spec.is_float and spec.feature), "only a mask may be nought everywhere"
            np.testing.assert_array_equal(made, wanted)
            continue
        largest = max(largest, np.abs(made - wanted).max() / np.abs(wanted).max())
    return largest


def test_sequences_of_any_length_up_to_the_bound(tied, executorch):
    path, part = tied
    artefact = executorch.open(path)
    for length in (1, 2, 9, 64, 512, 3):
        known = {key: tensor.numpy() for key, tensor in inputs("tied", 2, length=length).items()}
        assert difference(part, part.run(known), artefact.run(known)) < 1e-5
    longer = {key: tensor.numpy() for key, tensor in inputs("tied", 1, length=513).items()}
    with pytest.raises(GraphError, match=r"'tokens' has the shape \(1, 513\) for one sample.*\(1, 512\) at most"):
        artefact.run(longer)


def test_threads_may_change_under_open_artefacts(tied, executorch):
    """ExecuTorch frees the threads that a loaded method holds."""
    path, part = tied
    artefact = executorch.open(path)
    known = {key: tensor.numpy() for key, tensor in inputs("tied", 2, length=30).items()}
    expected = part.run(known)
    try:
        for count in (2, 1, 3, 1):
            executorch.set_threads(count)
            assert difference(part, expected, artefact.run(known)) < 1e-5
    finally:
        executorch.set_threads(1)


def test_several_threads_of_a_program_may_run_one_artefact(tied, executorch):
    path, part = tied
    artefact = executorch.open(path)
    given = [{k: t.numpy() for k, t in inputs("tied", 1, seed=seed, length=20).items()} for seed in range(4)]
    wrong = []

    def run(known):
        wrong.extend(d for _ in range(20) if (d := difference(part, part.run(known), artefact.run(known))) > 1e-5)

    workers = [threading.Thread(target=run, args=[known]) for known in given]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_the_file_of_another_part_is_refused(tied, tmp_path, executorch):
    path, _ = tied
    (tmp_path / "part.pte").write_bytes(path.read_bytes())
    program("several").slice(None, None).signature.save(Signature.beside(tmp_path / "part.pte"))
    with pytest.raises(FileError, match="not of one part"):
        executorch.open(tmp_path / "part.pte")


def test_any_cut_of_a_file_is_refused(tied, tmp_path, executorch):
    path, part = tied
    content = path.read_bytes()
    part.signature.save(Signature.beside(tmp_path / "part.pte"))
    for length in (0, 4, 31, 100, len(content) // 4, len(content) // 2, len(content) - 200):
        (tmp_path / "part.pte").write_bytes(content[:length])
        with pytest.raises(FileError, match="write it again"):
            executorch.open(tmp_path / "part.pte")


class Masked(nn.Module):
    """What transformers do to float32: a mask of its lowest number, and a cast to it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, keep):
        mask = (1.0 - keep.to(torch.float32)) * torch.finfo(torch.float32).min
        return torch.softmax(self.linear(x) + mask, -1), keep


def test_half_precision_is_inside_and_finite():
    torch.manual_seed(0)
    x, keep = torch.randn(3, 4), torch.tensor([[True, False, True, True]] * 3)
    exported = torch.export.export(Masked(), (x, keep))
    half = to_half(exported)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float16}
    with torch.no_grad():
        (made, kept), (wanted, _) = half(x, keep), exported.module()(x, keep)
    assert (made.dtype, kept.dtype) == (torch.float32, torch.bool)
    assert torch.isfinite(made).all()
    assert 0 < (made - wanted).abs().max() < 2e-3


def test_half_precision_needs_half_the_bytes(tmp_path, executorch):
    torch.manual_seed(0)
    part = capture(nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64)), torch.randn(2, 64)).slice(
        None, None
    )
    known = {"input": np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)}
    sizes = {}
    for precision, tolerance in (("float32", 1e-5), ("float16", 5e-3), ("int8", 0.05)):
        path = tmp_path / f"{precision}.pte"
        executorch.write(part, path, precision=precision, samples=[known])
        sizes[precision] = path.stat().st_size
        assert difference(part, part.run(known), executorch.open(path).run(known)) < tolerance
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert sizes["int8"] < 0.4 * sizes["float32"]


@pytest.mark.parametrize(
    ("samples", "says"),
    [([], "with convolutions takes .* none are given"), ([{"x": np.zeros((1, 9), np.float32)}], "do not fit the part")],
)
def test_int8_needs_samples_that_fit(samples, says, tmp_path, executorch):
    part = program("residual").slice(None, None)
    with pytest.raises(ExportError, match=says):
        executorch.write(part, tmp_path / "part.pte", precision="int8", samples=samples)
    assert list(tmp_path.iterdir()) == []


def test_int8_of_matrix_products_takes_its_ranges_as_it_runs(tmp_path, executorch):
    """A few features of a transformer are far larger than the others: fixed ranges cost the ViT 0.9 of its largest."""
    part = program("vit").slice(None, None)
    executorch.write(part, tmp_path / "part.pte", precision="int8")
    artefact = executorch.open(tmp_path / "part.pte")
    for seed in (20, 21):
        known = {key: tensor.numpy() for key, tensor in inputs("vit", 5, seed=seed).items()}
        assert 1e-4 < difference(part, part.run(known), artefact.run(known)) < 0.06


class Lacking(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.first, self.inner = nn.Linear(4, 4), inner

    def forward(self, x):
        return self.inner(self.first(x))


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.i1(x)


@pytest.mark.parametrize("inner", [Fourier, Bessel])
def test_an_operation_that_is_lacking_is_named_with_its_layer(inner, tmp_path, executorch):
    part = capture(Lacking(inner()), torch.ones(2, 4)).slice(None, None)
    with pytest.raises(ExportError, match=r"operation '\w+' of the layer 'inner'.*runs in torch") as caught:
        executorch.write(part, tmp_path / "part.pte")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _signature(inputs, outputs):
    made = [[Tensor(name=n, shape=s, dtype="float32", bytes=0) for n, s in each.items()] for each in (inputs, outputs)]
    return Signature.of(*made, {"batch": 1, "sequence": 3})


def test_samples_are_told_apart_in_every_dimension():
    signature = _signature(
        {"folded": ("2*batch", 3), "second": (4, "batch"), "all": (2,)}, {"folded": ("2*batch",), "all": (2,)}
    )
    folded, second, everything = np.arange(18).reshape(6, 3), np.arange(12).reshape(4, 3), np.ones(2)
    samples = split(signature, [folded, second, everything])
    assert [[array.tolist() for array in sample] for sample in samples] == [
        [folded[2 * n : 2 * n + 2].tolist(), second[:, n : n + 1].tolist(), [1, 1]] for n in range(3)
    ]
    joined = join(signature, [[sample[0].sum(1), sample[2]] for sample in samples])
    np.testing.assert_array_equal(joined[0], folded.sum(1))
    np.testing.assert_array_equal(joined[1], everything)


def test_samples_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ExportError, match="'similarity' has the batch in two dimensions"):
        require_rows(_signature({"x": ("batch", 3)}, {"similarity": ("batch", "batch")}))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_zoo_in_executorch(name, tmp_path, executorch):
    boundaries = program(name).graph.boundaries()
    parts = slices(program(name), [boundaries[len(boundaries) // 2]])
    for precision in ("float32", "float16"):
        for number, part in enumerate(parts):
            executorch.write(part, tmp_path / "part.pte", precision=precision)
            artefact = executorch.open(tmp_path / "part.pte")
            for batch, size in ((1, {}), (5, {"length": 13} if name in TOKENS else {})):
                known = {key: tensor.numpy() for key, tensor in inputs(name, batch, **size).items()}
                for before in parts[:number]:
                    known |= before.run(known)
                found = artefact.run(known)
                # bfloat16 keeps two or three digits, in whatever order it computes
                bound = 1e-2 if name == "brain_float" else executorch.tolerance(precision)
                assert difference(part, part.run(known), found) < bound


def test_a_package_that_executorch_brings_may_be_missing(tmp_path, executorch, monkeypatch):
    for name in ("torchao.quantization.pt2e.quantize_pt2e", "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"):
        monkeypatch.setitem(sys.modules, name, None)
    (part,) = slices(capture(nn.Linear(2, 2).eval(), torch.ones(1, 2)), [])
    with pytest.raises(MissingExtra, match=r"edgepart\[executorch\]"):
        executorch.write(
            part, tmp_path / "part.pte", precision="int8", samples=[{"input": np.ones((1, 2), np.float32)}]
        )
    assert not list(tmp_path.iterdir())


def test_what_can_be_written_but_not_run_is_refused_with_its_name(tmp_path, executorch):
    class Volumes(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep = nn.Conv3d(2, 4, 3)

        def forward(self, x):
            return self.deep(x)

    part = capture(Volumes().eval(), torch.randn(2, 2, 5, 5, 5)).slice(None, None)
    with pytest.raises(ExportError, match=r"the operation 'convolution' of the layer 'deep' but cannot run it"):
        executorch.write(part, tmp_path / "part.pte")
    assert not list(tmp_path.iterdir())
