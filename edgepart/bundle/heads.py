"""The head of every exit: which template, rendered to which source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepart.exits.render import render
from edgepart.exits.template import Template, Value, load_template
from edgepart.frameworks import framework
from edgepart.frameworks.builder import Builder, HeadSize
from edgepart.partitioning.plan import Plan, PlannedExit

DEFAULT = "linear"
#: of a parameter: heads are float32
_BYTES = 4


@dataclass(frozen=True)
class Heads:
    """A plan with its heads filled in, and by exit name the rendered sources and the sizes of the heads."""

    plan: Plan
    sources: Mapping[str, str]
    sizes: Mapping[str, HeadSize]


def add_heads(
    builder: Builder, plan: Plan, classes: int, head: str | None, parameters: Mapping[str, Value], seed: int
) -> Heads:
    """Render and compile the head of every exit.

    Args:
        head: template name or path of a ``.py.j2``; None takes the plan's choice, or ``linear`` where it has none
        parameters: of the template; a string is converted to the declared type
        seed: draws the heads' first weights

    Raises:
        UnknownName: no such template or parameter.
        TemplateError: a head cannot be rendered, compiled or run on its tensor.
        InfeasiblePlan: with the heads a tier exceeds its memory limit.
    """
    made_for = framework(builder.program.graph.framework).templates
    points, sources, sizes = [], {}, {}
    for number, point in enumerate(plan.exits):
        template = load_template(head or point.head or DEFAULT, made_for)
        values = _values(template, parameters if head or parameters or not point.head else point.parameters)
        source = _render(builder, template, point, classes, values)
        size = builder.add_head(point.name, source, point.tensor, classes, seed + number)
        sources[point.name], sizes[point.name] = source, size
        chosen = {"head": template.name, "parameters": values, "head_macs": size.macs}
        chosen["head_bytes"] = _BYTES * size.parameters
        points.append(point.model_copy(update=chosen))
    filled = plan.model_copy(update={"exits": tuple(points)})
    filled.require_memory()
    return Heads(filled, sources, sizes)


def _values(template: Template, given: Mapping[str, Value]) -> dict[str, Value]:
    """The value of every parameter, so that the plan says them all."""
    typed = template.parse({name: value for name, value in given.items() if isinstance(value, str)})
    return template.resolve({name: typed.get(name, value) for name, value in given.items()})


def _render(builder: Builder, template: Template, point: PlannedExit, classes: int, values: Mapping[str, Value]) -> str:
    shape = builder.program.graph.tensor(point.tensor).shape[1:]
    classifier = builder.classifier(shape) if template.needs_classifier else None
    return render(
        template,
        shape=shape,
        layout=builder.program.graph.layout,
        classes=classes,
        name=point.name,
        parameters=values,
        classifier=classifier,
    )
