"""What every runtime promises. Subclass :class:`RuntimeContract` in a test, name your runtime and give it parts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import EdgepartError, ExportError, FileError, GraphError
from edgepart.frameworks import Part
from edgepart.frameworks.runtimes import PRECISIONS, Artefact, Precision, Runtime
from edgepart.frameworks.signature import Signature, array_dtype
from edgepart.graph.sizes import evaluate_size

Arrays = dict[str, NDArray[np.generic]]
#: batch sizes to try
BATCHES = (1, 2, 5)

#: the descriptors of stdout and stderr
_TERMINAL = (1, 2)
#: opens and runs every artefact of a folder; its words for arrays are numbers because names may be anything
_ELSEWHERE = """
import sys
from pathlib import Path
import numpy as np
from edgepart.frameworks.runtimes import runtime

opened = runtime(sys.argv[1])
for folder in sorted(Path(sys.argv[2]).iterdir()):
    artefact = opened.open(folder / sys.argv[3])
    given = np.load(folder / "given.npz")
    made = artefact.run({name: given[str(place)] for place, name in enumerate(artefact.inputs)})
    np.savez(folder / "made.npz", **{str(place): made[name] for place, name in enumerate(artefact.outputs)})
"""


class RuntimeContract:
    """Run by pytest once subclassed::

        class TestMyRuntime(RuntimeContract):
            def runtime(self):
                return MyRuntime()

            def parts(self):
                return [capture(network, example).slice(None, None), …]

    In every precision and at every batch size, artefacts equal the parts that they were written from within the
    runtime's tolerance, take and give tensors in the order and of the types of the signature that lies beside them, run
    in another process and folder, and write nothing to the terminal. Wrong inputs and files are refused.

    Artefacts are written once for each part and precision of a subclass. The runtime must be registered (entry-point
    group ``edgepart.runtimes``), because another process looks it up.
    """

    _written: ClassVar[dict[tuple[type, int, str], tuple[Path, str]]] = {}

    def runtime(self) -> Runtime:
        """The runtime."""
        raise NotImplementedError

    def parts(self) -> Sequence[Part]:
        """Parts to write, the same at every call and better small.

        Among them one with several inputs and outputs, one that reads integers, and one with a tensor whose name could
        not be a Python variable's.
        """
        raise NotImplementedError

    def inputs(self, part: Part, batch: int, seed: int) -> Arrays:
        """Inputs of a part: normal numbers, and integers that are 0 or 1; override where it wants others."""
        random = np.random.default_rng([seed, batch])
        sizes = part.signature.symbols | {"batch": batch}
        given = {}
        for spec in part.signature.inputs:
            shape = [evaluate_size(size, sizes) for size in spec.shape]
            drawn = random.normal(size=shape) if spec.is_float else random.integers(0, 2, shape)
            given[spec.name] = _bits(drawn, spec.dtype)
        return given

    def test_it_says_what_it_is(self) -> None:
        runtime = self.runtime()
        assert runtime.name, "it has no name"
        assert runtime.form, "it does not say what parts are exported to"
        assert runtime.version(), "it has no version"
        assert set(runtime.precisions) <= set(PRECISIONS), "it has precisions that edgepart does not know"
        assert "float32" in runtime.precisions, "it does not write parts as they are"
        assert all(runtime.tolerance(precision) < 1 for precision in runtime.precisions), "it takes anything for equal"
        runtime.set_threads(1)

    def test_the_parts_try_what_is_hard(self) -> None:
        signatures = [part.signature for part in self.parts()]
        tensors = [spec for signature in signatures for spec in (*signature.inputs, *signature.outputs)]
        several = any(len(each.inputs) > 1 and len(each.outputs) > 1 for each in signatures)
        assert several, "give a part with several inputs and outputs"
        assert not all(spec.is_float for each in signatures for spec in each.inputs), "give a part that reads integers"
        assert not all(spec.name.isidentifier() for spec in tensors), "give a part with a tensor called 'block.0:1'"

    def test_artefacts_equal_their_parts(self) -> None:
        for number, part in enumerate(self.parts()):
            for precision in self.runtime().precisions:
                artefact = self._opened(number, precision)
                for batch in BATCHES:
                    given = self.inputs(part, batch, 1)
                    self._assert_equal(part, precision, batch, part.run(given), artefact.run(given))

    def test_the_signature_lies_beside_the_artefact(self) -> None:
        for number, part in enumerate(self.parts()):
            for precision in self.runtime().precisions:
                beside = Signature.load(Signature.beside(self._path(number, precision)))
                assert beside == part.signature, "the signature beside the artefact is not the part's"
                artefact = self._opened(number, precision)
                assert artefact.signature == part.signature, "the artefact has another signature than its part"
                assert (artefact.inputs, artefact.outputs) == (part.inputs, part.outputs), "it names other tensors"

    def test_it_can_be_timed(self) -> None:
        for number, part in enumerate(self.parts()):
            self._opened(number, "float32").runner(self.inputs(part, 1, 1))()

    def test_wrong_inputs_are_refused(self) -> None:
        for number, part in enumerate(self.parts()):
            artefact, given = self._opened(number, "float32"), self.inputs(part, 2, 1)
            for name in part.inputs:
                wrong = {
                    "missing": {other: array for other, array in given.items() if other != name},
                    "of another rank": given | {name: given[name][..., None]},
                    "of another dtype": given | {name: given[name].astype(np.complex64)},
                }
                for what, arrays in wrong.items():
                    _assert_raises(
                        GraphError, lambda: artefact.run(arrays), f"the input '{name}' is {what}"  # noqa: B023
                    )  # fmt: skip

    def test_arrays_that_are_not_read_are_ignored(self) -> None:
        part = self.parts()[0]
        self._opened(0, "float32").run(self.inputs(part, 1, 1) | {"not read by any part": np.zeros(1)})

    def test_int8_is_not_guessed(self) -> None:
        """Without samples int8 is refused, or as close as with them."""
        if "int8" not in self.runtime().precisions:
            return
        for part in self.parts():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / self._name
                try:
                    self.runtime().write(part, path, precision="int8")
                except ExportError:
                    assert not list(Path(folder).iterdir()), "what is refused leaves files behind"
                    continue
                given = self.inputs(part, 2, 1)
                self._assert_equal(part, "int8", 2, part.run(given), self.runtime().open(path).run(given))

    def test_files_that_are_none_are_refused(self) -> None:
        whole = self._path(0, "float32")
        spoil: dict[str, Callable[[Path], object]] = {
            "missing": lambda path: shutil.rmtree(path) if path.is_dir() else path.unlink(),
            "damaged": lambda path: [file.write_bytes(b"nothing") for file in _files(path)],
            "cut short": lambda path: [file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
                                       for file in _files(path)],
            "without its signature": lambda path: Signature.beside(path).unlink(),
        }  # fmt: skip
        for what, change in spoil.items():
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(whole.parent, folder, dirs_exist_ok=True)
                change(Path(folder) / self._name)
                path = Path(folder) / self._name
                _assert_raises(FileError, lambda: self.runtime().open(path), f"the artefact is {what}")  # noqa: B023

    def test_a_folder_that_is_missing_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "none" / self._name
            _assert_raises(FileError, lambda: self.runtime().write(self.parts()[0], path), "the folder is missing")

    def test_nothing_is_written_to_the_terminal(self) -> None:
        for number, part in enumerate(self.parts()):
            for precision in self.runtime().precisions:
                assert self._said(number, precision) == "", (
                    f"while it writes {precision}: {self._said(number, precision)}"
                )
                with _overheard() as said:
                    artefact = self._opened(number, precision)
                    for batch in BATCHES:
                        artefact.run(self.inputs(part, batch, 1))
                assert said() == "", f"while it opens and runs {precision}: {said()}"

    def test_artefacts_run_in_another_process_and_folder(self) -> None:
        """In a new process, so that what a package says when it is imported is heard as well."""
        written = [(n, precision) for n in range(len(self.parts())) for precision in self.runtime().precisions]
        with tempfile.TemporaryDirectory() as somewhere:
            moved = Path(somewhere) / "moved élsewhere"
            for number, precision in written:
                folder = moved / f"{number} {precision}"
                shutil.copytree(self._path(number, precision).parent, folder)
                part = self.parts()[number]
                given = self.inputs(part, 2, 1)
                arrays = {str(place): given[name] for place, name in enumerate(part.inputs)}
                np.savez(folder / "given.npz", **arrays)  # type: ignore[arg-type]
            command = [sys.executable, "-c", _ELSEWHERE, self.runtime().name, str(moved), self._name]
            paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run(command, cwd=somewhere, env=paths, capture_output=True, text=True)
            assert done.returncode == 0, f"it does not open or run them: {done.stderr}"
            assert done.stdout + done.stderr == "", f"it writes to the terminal: {done.stdout}{done.stderr}"
            for number, precision in written:
                part = self.parts()[number]
                with np.load(moved / f"{number} {precision}" / "made.npz") as stored:
                    made = {name: stored[str(place)] for place, name in enumerate(part.outputs)}
                self._assert_equal(part, precision, 2, part.run(self.inputs(part, 2, 1)), made)

    @property
    def _name(self) -> str:
        return f"part{self.runtime().suffix}"

    def _opened(self, number: int, precision: Precision) -> Artefact:
        return self.runtime().open(self._path(number, precision))

    def _path(self, number: int, precision: Precision) -> Path:
        return self._artefact(number, precision)[0]

    def _said(self, number: int, precision: Precision) -> str:
        return self._artefact(number, precision)[1]

    def _artefact(self, number: int, precision: Precision) -> tuple[Path, str]:
        """A part on disk in a folder of its own, and what was heard while it was written."""
        key = (type(self), number, precision)
        if key not in self._written:
            folder = tempfile.TemporaryDirectory()
            _folders.append(folder)
            part, path = self.parts()[number], Path(folder.name) / self._name
            samples = [self.inputs(part, 8, seed) for seed in range(2, 6)]
            with _overheard() as said:
                self.runtime().write(part, path, precision=precision, samples=samples)
            self._written[key] = path, said()
        return self._written[key]

    def _assert_equal(
        self, part: Part, precision: Precision, batch: int, wanted: Mapping[str, Any], made: Mapping[str, Any]
    ) -> None:
        assert tuple(made) == part.outputs, f"it gives {tuple(made)}, the part {part.outputs}"
        for spec in part.signature.outputs:
            where = f"the output '{spec.name}' in {precision} at batch {batch}"
            found, expected = np.asarray(made[spec.name]), np.asarray(wanted[spec.name])
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape), (
                f"{where} is {found.dtype} {found.shape}, the part's {expected.dtype} {expected.shape}"
            )
            if precision != "float32" and not spec.is_float:
                continue  # an argmax may well be another one
            found, expected = _values(found, spec.dtype), _values(expected, spec.dtype)
            largest = np.abs(expected).max()
            assert largest > 0, f"{where} is all zeros, which shows nothing: give other parts or inputs"
            difference = np.abs(found - expected).max() / largest
            assert difference <= self.runtime().tolerance(precision), f"{where} differs by {difference:.2g}"


#: kept until the process ends
_folders: list[tempfile.TemporaryDirectory[str]] = []


def _assert_raises(kind: type[EdgepartError], call: Callable[[], object], what: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what} and no {kind.__name__} is raised")


def _files(artefact: Path) -> list[Path]:
    found = [artefact] if artefact.is_file() else artefact.rglob("*")
    return [file for file in found if file.is_file()]


@contextmanager
def _overheard() -> Iterator[Callable[[], str]]:
    """Collect what Python, and whatever is beneath it, writes to the terminal; call the result after the block."""
    heard: list[str] = []
    before = [os.dup(descriptor) for descriptor in _TERMINAL]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stream, warnings.catch_warnings():
        # a test runner keeps warnings for itself
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)  # noqa: T201
        for descriptor in _TERMINAL:
            os.dup2(stream.fileno(), descriptor)
        try:
            with redirect_stdout(stream), redirect_stderr(stream):
                yield lambda: "".join(heard)
        finally:
            for descriptor, copy in zip(_TERMINAL, before, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
            stream.seek(0)
            heard.append(stream.read())


def _bits(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers as arrays of a dtype; bfloat16, which NumPy lacks, as its bits."""
    if dtype != "bfloat16":
        return values.astype(array_dtype(dtype))
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def _values(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The numbers that an array stands for."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
