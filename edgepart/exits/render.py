"""Rendering a template to the source of a head: formatted, readable, and free of edgepart."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Mapping, Sequence

import jinja2

from edgepart.errors import TemplateError
from edgepart.exits.template import Refused, Template, Value, environment
from edgepart.graph.graph import Layout
from edgepart.units import dimensions

#: how shapes are named in messages, by rank without the batch dimension
SHAPES = {1: "(features)", 2: "(sequence, hidden)", 3: "(channels, height, width)"}
_MAPS_CHANNELS_LAST = "(height, width, channels)"


def render(
    template: Template,
    *,
    shape: Sequence[int | str],
    layout: Layout = "channels_first",
    classes: int,
    name: str,
    parameters: Mapping[str, Value],
    classifier: Sequence[str] | None = None,
) -> str:
    """The source of a head for one tensor, formatted with black.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string such as ``sequence``
        layout: where a map has its channels
        name: of the exit, for the docstring of the source
        parameters: values of the template's parameters; those not given take their default
        classifier: source lines of modules that replicate the network's own classifier, if the template asks for it

    Raises:
        UnknownName: a parameter that the template does not have.
        TemplateError: the template cannot classify such a tensor, a parameter has a wrong value, or what it renders
            is not Python.
    """
    values = template.resolve(parameters)
    channels = _channels(template, shape, layout)
    if template.needs_classifier and not classifier:
        raise TemplateError(
            f"the template '{template.name}' needs the network's own classifier, which is not at hand: "
            "give the network, or use the template 'linear'"
        )
    context = {
        "classes": classes,
        "shape": tuple(shape),
        "channels": channels,
        "rank": len(shape),
        "name": name,
        "classifier": list(classifier or ()),
    }
    return _formatted(template, _rendered(template, context | values))


def shape_names(rank: int, layout: Layout) -> str:
    """How a shape of that rank, the batch dimension not counted, is written in messages."""
    return _MAPS_CHANNELS_LAST if rank == 3 and layout == "channels_last" else SHAPES[rank]


def _channels(template: Template, shape: Sequence[int | str], layout: Layout) -> int:
    ranks = template.header.input_ranks
    if len(shape) not in ranks:
        expected = " or ".join(shape_names(rank, layout) for rank in ranks)
        raise TemplateError(
            f"the template '{template.name}' classifies tensors {expected} a sample, not {dimensions(shape)}: "
            "choose another template or another exit"
        )
    channels = shape[0] if len(shape) == 3 and layout == "channels_first" else shape[-1]
    if not isinstance(channels, int):
        raise TemplateError(
            f"the template '{template.name}' needs a fixed number of channels, but the tensor {dimensions(shape)} has "
            f"'{channels}': place the exit elsewhere"
        )
    return channels


def _rendered(template: Template, context: Mapping[str, object]) -> str:
    try:
        return environment().from_string(template.source).render(context)
    except Refused as refusal:
        raise TemplateError(f"the template '{template.name}' refuses: {refusal}") from refusal
    except Exception as error:  # a template is the user's code: whatever it raises is the user's to mend
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        where = f"{template.path}, line {frames[-1].lineno}" if frames else str(template.path)
        kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
        raise TemplateError(f"{where}: {kind}{error}") from error


def _formatted(template: Template, source: str) -> str:
    import black  # takes a tenth of a second to import

    try:
        ast.parse(source)
    except SyntaxError as error:
        text = (error.text or "").strip()
        raise TemplateError(
            f"what the template '{template.name}' renders is not Python: {error.msg} in rendered line {error.lineno}: "
            f"{text}"
        ) from error
    return black.format_str(source, mode=black.Mode(line_length=100))
