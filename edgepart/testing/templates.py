"""What every exit template promises. Subclass :class:`TemplateContract` in a test and name your template."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from edgepart.exits.render import render
from edgepart.exits.template import Template, Value, load_template
from edgepart.frameworks import framework

#: shapes of one sample, by rank; a named dimension varies
SHAPES: Mapping[int, Sequence[tuple[int | str, ...]]] = {
    1: ((32,), (5,)),
    2: (("sequence", 16), (7, 24)),
    3: ((8, 12, 12), (3, 1, 1), (4, 9, 5)),
}
_MAPS_CHANNELS_LAST = ((12, 12, 8), (1, 1, 3), (9, 5, 4))
#: number of classes
CLASSES = (2, 7)


class TemplateContract:
    """Run by pytest once subclassed::

        class TestMargin(TemplateContract):
            template = "margin.py.j2"

    A head takes any batch size, gives (batch, classes) finite logits, computes forward(x) as classify(reduce(x)),
    keeps parameters and dropout out of reduce, answers a sample alike in any batch, leaves its input as it was, and
    runs without edgepart. This holds for every choice of every parameter and every rank that the header declares.
    """

    #: name, or path of a ``.py.j2`` file
    template: str
    framework = "torch"
    #: settings to try besides the defaults and every single choice
    settings: Sequence[Mapping[str, Value]] = ()

    def classifier(self, shape: Sequence[int | str], classes: int) -> list[str] | None:
        """What stands for the network's own classifier, for templates that ask for it; override it for keras."""
        pooling = {1: [], 2: ["Token(0)"], 3: ["Mean((2, 3))"]}[len(shape)]
        return [*pooling, "nn.Dropout(0.1)", f"nn.Linear({shape[0] if len(shape) == 3 else shape[-1]}, {classes})"]

    def test_header_explains_itself(self) -> None:
        template = self._template()
        assert template.header.summary.strip(), "the header has no summary"
        silent = [name for name, parameter in template.header.parameters.items() if not parameter.help.strip()]
        assert not silent, f"parameters without help: {silent}"

    def test_head_keeps_its_contract(self) -> None:
        for shape, classes, source, label in self._sources():
            sizes = [11 if isinstance(size, str) else size for size in shape]
            framework(self.framework).try_head(source, sizes, classes, label)

    def test_source_runs_without_edgepart(self) -> None:
        for _, _, source, label in self._sources():
            imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
            assert not any("edgepart" in ast.unparse(node) for node in imported), f"{label} imports edgepart"
            assert ast.get_docstring(ast.parse(source)), f"{label} does not say what it is: begin with a docstring"

    def test_rendering_is_deterministic(self) -> None:
        template = self._template()
        for rank in template.header.input_ranks:
            first, second = (self._render(template, self._shapes(rank)[0], 2, {}) for _ in range(2))
            assert first == second, f"{template.name} renders differently the second time"

    def test_other_ranks_are_refused(self) -> None:
        from edgepart.errors import TemplateError

        template = self._template()
        for rank in SHAPES.keys() - set(template.header.input_ranks):
            try:
                self._render(template, self._shapes(rank)[0], 2, {})
            except TemplateError:
                continue
            raise AssertionError(f"a tensor of rank {rank} is not refused, although the header does not list it")

    def _template(self) -> Template:
        return load_template(self.template, self.framework)

    def _sources(self) -> Iterator[tuple[tuple[int | str, ...], int, str, str]]:
        """(shape, classes, source, label) over all ranks, and the settings that go with them."""
        template = self._template()
        for rank, classes in product(template.header.input_ranks, CLASSES):
            for shape in self._shapes(rank):
                for values in self._values(template, rank):
                    label = f"{template.name} {values} on {shape} for {classes} classes"
                    yield shape, classes, self._render(template, shape, classes, values), label

    def _values(self, template: Template, rank: int) -> list[Mapping[str, Value]]:
        """The defaults, every choice and bound of every parameter alone, and :attr:`settings`."""
        found: list[Mapping[str, Value]] = [{}, *self.settings]
        for name, parameter in template.header.parameters.items():
            found += [{name: choice} for choice in parameter.choices or ()]
            found += [{name: flag} for flag in (True, False) if parameter.type == "bool"]
        return [values for values in found if self.fits(rank, values)]

    def fits(self, rank: int, values: Mapping[str, Value]) -> bool:
        """Whether the template promises to render these values for a tensor of that rank; override to say no."""
        return True

    def _render(self, template: Template, shape: Sequence[int | str], classes: int, values: Mapping[str, Value]) -> str:
        classifier = self.classifier(shape, classes) if template.needs_classifier else None
        return render(
            template,
            shape=shape,
            layout=framework(self.framework).layout,
            classes=classes,
            name="exit 1",
            parameters=values,
            classifier=classifier,
        )

    def _shapes(self, rank: int) -> Sequence[tuple[int | str, ...]]:
        last = rank == 3 and framework(self.framework).layout == "channels_last"
        return _MAPS_CHANNELS_LAST if last else SHAPES[rank]
