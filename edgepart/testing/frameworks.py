"""What every framework promises. Subclass :class:`FrameworkContract` in a test and name your framework."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import FileError, GraphError
from edgepart.frameworks import Framework, Part, Program, slices
from edgepart.frameworks.runtimes import Artefact, Runtime, runtime
from edgepart.graph import Boundary, Graph
from edgepart.graph.sizes import evaluate_size

Arrays = dict[str, NDArray[np.generic]]
#: batch sizes to try
BATCHES = (1, 2, 5)


class FrameworkContract:
    """Run by pytest once subclassed::

        class TestPerceptrons(FrameworkContract):
            def framework(self):
                return Perceptrons()

            def network(self):
                return Perceptron(…)

            def inputs(self, batch):
                return {"x": …}

            def answers(self, network, inputs):
                return [network(inputs["x"])]

    Parts make together what the network makes, at every boundary and batch size, from the tensors that the Graph says,
    which have the shapes and bytes that it says; so do artefacts and programs read back from files. Wrong inputs are
    refused. Heads and training (:class:`edgepart.frameworks.builder.Builder`) are not looked at.
    """

    #: largest difference to the network itself, relative to its largest answer; 0: bit by bit
    tolerance = 0.0

    def framework(self) -> Framework:
        """The framework."""
        raise NotImplementedError

    def runtime(self) -> Runtime:
        """The framework's own runtime."""
        return runtime(self.framework().runtime)

    def network(self) -> object:
        """A network of it; better one that branches."""
        raise NotImplementedError

    def inputs(self, batch: int) -> Arrays:
        """Inputs by the names of the network's arguments, batch first; not all zero, and different in every sample."""
        raise NotImplementedError

    def answers(self, network: Any, inputs: Arrays) -> Sequence[NDArray[np.generic]]:
        """What the network itself makes of inputs, in the order of its outputs."""
        raise NotImplementedError

    def test_it_knows_its_own_networks(self) -> None:
        framework = self.framework()
        assert framework.accepts(self.network()), "it does not accept its own network"
        assert not framework.accepts(object()), "it accepts what is no network"
        assert self._program().graph.framework == framework.name, "the graph is of another framework"
        assert framework.version(), "the framework has no version"
        own = self.runtime()
        assert (own.name, own.form in framework.forms) == (framework.runtime, True), "its own runtime is another one"

    def test_the_graph_says_what_parts_make(self) -> None:
        program = self._program()
        graph, boundaries = program.graph, program.graph.boundaries()
        for batch in BATCHES:
            for name, array in _run(slices(program, boundaries), self.inputs(batch)).items():
                spec = graph.tensor(name)
                shape = tuple(evaluate_size(size, graph.symbols | {"batch": batch}) for size in spec.shape)
                assert array.shape == shape, f"'{name}' has shape {array.shape}, the graph says {shape}"
                assert batch > 1 or array.nbytes == spec.bytes, f"'{name}' has {array.nbytes} bytes, not {spec.bytes}"

    def test_the_example_is_one_sample(self) -> None:
        program = self._program()
        example = program.example()
        assert tuple(example) == program.graph.inputs, "the example has other inputs than the graph"
        assert all(len(array) == 1 for array in example.values() if array.ndim), "the example is not one sample"
        _run(slices(program, []), example)

    def test_two_parts_equal_the_whole(self) -> None:
        program = self._program()
        for boundary in _boundaries(program.graph):
            parts = slices(program, [boundary])
            leaving = {*boundary.tensors, *program.graph.outputs}
            assert leaving.issuperset(parts[0].outputs), "a part makes more than what crosses or leaves the network"
            for batch in BATCHES:
                self._assert_whole(program.graph, parts, batch)

    def test_one_part_a_layer_equals_the_whole(self) -> None:
        program = self._program()
        self._assert_whole(program.graph, slices(program, program.graph.boundaries()), 3)

    def test_parts_hold_the_parameters_of_their_layers(self) -> None:
        program = self._program()
        for boundary in _boundaries(program.graph):
            for part in slices(program, [boundary]):
                used = {name for layer in part.layers for name in program.graph.layer(layer).parameters}
                expected = {name: program.graph.parameters[name] for name in used}
                assert dict(part.parameters) == expected, f"the part of {part.layers} holds other parameters"

    def test_artefacts_equal_their_parts(self) -> None:
        program, own = self._program(), self.runtime()
        for boundary in _boundaries(program.graph)[:3]:
            with tempfile.TemporaryDirectory() as folder:
                opened = []
                for number, part in enumerate(slices(program, [boundary])):
                    own.write(part, Path(folder) / str(number))
                    opened.append(own.open(Path(folder) / str(number)))
                    assert (opened[-1].inputs, opened[-1].outputs) == (part.inputs, part.outputs), "other tensors"
                for batch in BATCHES:
                    self._assert_whole(program.graph, opened, batch)

    def test_a_program_comes_back_from_its_folder(self) -> None:
        program = self._program()
        with tempfile.TemporaryDirectory() as folder:
            program.save(Path(folder) / "program")
            opened = self.framework().open_program(Path(folder) / "program")
        assert opened.graph.fingerprint == program.graph.fingerprint, "another network comes back"
        self._assert_whole(opened.graph, slices(opened, opened.graph.boundaries()[:1]), 2)

    def test_a_network_is_captured_again_from_its_graph(self) -> None:
        network = self.network()
        program = self.framework().program(network, self.inputs(2))
        again = self.framework().recapture(network, program.graph)
        assert again.graph.fingerprint == program.graph.fingerprint, "capturing it again gives another graph"
        program.update(network)

    def test_wrong_inputs_are_refused(self) -> None:
        program = self._program()
        part, given = slices(program, [])[0], self.inputs(2)
        for name in part.inputs:
            without = {other: array for other, array in given.items() if other != name}
            longer = given | {name: np.concatenate([given[name][..., None]] * 2, axis=-1)}
            for what, wrong in (("missing", without), ("of another rank", longer)):
                try:
                    part.run(wrong)
                except GraphError:
                    continue
                raise AssertionError(f"the input '{name}' is {what} and no GraphError is raised")

    def test_files_that_are_none_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "damaged").write_bytes(b"nothing")
            for name in ("missing", "damaged"):
                try:
                    self.runtime().open(Path(folder) / name)
                except FileError:
                    continue
                raise AssertionError(f"a {name} file is opened without a FileError")

    def test_what_the_profiler_needs(self) -> None:
        program, framework = self._program(), self.framework()
        slices(program, [])[0].runner(program.example())()
        for name, (macs, run) in framework.reference().items():
            assert macs > 0, f"the reference network {name} multiplies nothing"
            run()

    def _program(self) -> Program:
        return self.framework().program(self.network(), self.inputs(2))

    def _assert_whole(self, graph: Graph, parts: Sequence[Part | Artefact], batch: int) -> None:
        made = _run(parts, self.inputs(batch))
        answers = self.answers(self.network(), self.inputs(batch))
        for name, answer in zip(graph.outputs, answers, strict=True):
            where = f"output '{name}' of {len(parts)} parts, batch {batch}"
            assert np.abs(answer).max() > 0, "the network answers with zeros, which shows nothing: give other inputs"
            difference = np.abs(made[name].astype(complex) - answer.astype(complex)).max()
            assert difference <= self.tolerance * np.abs(answer).max(), f"{where} differs by {difference}"


def _boundaries(graph: Graph) -> list[Boundary]:
    """Those of the topological order, and the smallest one around every layer."""
    around = [graph.boundary([layer.name]) for layer in graph.layers]
    found = {each.layers: each for each in (*graph.boundaries(), *around)}
    return [each for each in found.values() if len(each.layers) < len(graph.layers)]


def _run(parts: Sequence[Part | Artefact], given: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """All arrays that the parts in turn read and made; each is given what it says it reads and no more."""
    known = dict(given)
    for part in parts:
        made = part.run({name: known[name] for name in part.inputs})
        assert tuple(made) == part.outputs, f"a part returns {tuple(made)}, it says {part.outputs}"
        known |= made
    return known
