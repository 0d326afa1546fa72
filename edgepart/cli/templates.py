"""``edgepart templates``: what heads there are, and making one's own."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepart.cli.output import json_option, note, parse_pairs, print_json, print_table
from edgepart.errors import GraphError, TemplateError, UnknownName
from edgepart.exits.render import render, shape_names
from edgepart.exits.template import SUFFIX, Parameter, Template, load_template, templates
from edgepart.files import write_text

if TYPE_CHECKING:
    from edgepart.frameworks import Framework
    from edgepart.frameworks.model import LoadedModel

#: shapes that ``check`` tries where none is given, by rank; of a map the channels go where the framework has them
SHAPES: dict[int, tuple[int | str, ...]] = {1: (64,), 2: ("sequence", 64), 3: (64, 8, 8)}
CHANNELS_LAST: tuple[int | str, ...] = (8, 8, 64)
#: value of a dimension that is given by name
VARIABLE = 16

_framework = click.option(
    "--framework", metavar="NAME", default="torch", show_default=True, help="What heads are made for: torch or keras."
)


@click.group()
def command() -> None:
    """The heads that an exit can have: shipped templates, and your own (a template is code that is run)."""


@command.command("list")
@_framework
@json_option
def list_(framework: str, as_json: bool) -> None:
    """List the templates."""
    _owner(framework)
    known = [load_template(name, framework) for name in templates(framework)]
    if as_json:
        print_json([_fields(template) for template in known])
        return
    for template in known:
        click.echo(f"{template.name}\n  {template.header.summary}\n  Classifies {_takes(template)}.")
        if template.header.parameters:
            click.echo(f"  Parameters: {', '.join(template.header.parameters)}")


@command.command("show")
@click.argument("name")
@_framework
@json_option
def show(name: str, framework: str, as_json: bool) -> None:
    """Show the parameters of a template, given its name or the path of a file."""
    template = load_template(name, framework)
    if as_json:
        print_json(_fields(template) | {"source": template.source})
        return
    click.echo(f"{template.name}: {template.header.summary}\nClassifies {_takes(template)}.\n{template.path}")
    for key, parameter in template.header.parameters.items():
        click.echo(f"\n{key}: {parameter.type}, {_range(parameter)}, default {parameter.default}")
        click.echo(textwrap.fill(parameter.help, 100, initial_indent="  ", subsequent_indent="  "))


@command.command("new")
@click.argument("name")
@click.option("--from", "origin", default="linear", show_default=True, help="The template to start from.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"File to write; NAME{SUFFIX} by default.")
@_framework
@json_option
def new(name: str, origin: str, output: Path | None, framework: str, as_json: bool) -> None:
    """Write a template of your own, a copy of another one to start from."""
    template = load_template(origin, framework)
    path = output or Path(name + SUFFIX)
    if path.is_dir():
        path = path / (name + SUFFIX)
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or path.name != name + SUFFIX:
        raise TemplateError(
            f"{path} cannot hold the template '{name}': a name has letters, digits, - and _, and its file is called "
            f"NAME{SUFFIX}"
        )
    if path.exists():
        raise TemplateError(f"{path} exists already: remove it, or choose another name")
    renamed = re.sub(r"(?m)^name:.*$", f"name: {name}", template.source, count=1)
    write_text(path, renamed.replace(f"template '{template.name}'", f"template '{name}'"))
    if as_json:
        print_json({"name": name, "from": template.name, "file": str(path)})
    else:
        click.echo(f"written to {path}")
        note(f"edit it, try it with 'edgepart templates check {path}', and use it with 'edgepart build --head {path}'")


@command.command("check")
@click.argument("file")
@click.option("--shape", metavar="SHAPE", help="Of one sample, such as 64x8x8 or sequencex384.")
@click.option("--classes", type=click.IntRange(2), help="Number of classes; 10, or the model's, by default.")
@click.option("--model", metavar="MODEL", help="Take the tensor of a network instead; needs --at.")
@click.option("--at", "layer", metavar="LAYER", help="The layer or module of MODEL whose output the head reads.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated.")
@_framework
@json_option
def check(
    file: str,
    shape: str | None,
    classes: int | None,
    model: str | None,
    layer: str | None,
    settings: tuple[str, ...],
    framework: str,
    as_json: bool,
) -> None:
    """Render a template, compile it and run it on a tensor's shape, and say what is wrong.

    Without --shape or --model it is tried on a shape of every rank that it declares.
    """
    if (model is None) != (layer is None) or (model and shape):
        raise TemplateError("give either --shape, or --model together with --at")
    if model and layer:
        from edgepart.frameworks import framework_of
        from edgepart.frameworks.model import load_model

        loaded = load_model(model)
        owner = framework_of(loaded.model)
        template = load_template(file, owner.templates)
        targets = [_of_model(owner, loaded, layer, classes, template.needs_classifier)]
    else:
        owner = _owner(framework)
        template = load_template(file, framework)
        shapes = [_parse_shape(shape)] if shape else [_shape(rank, owner) for rank in template.header.input_ranks]
        targets = [_Target(one, _example(one), classes or 10, None) for one in shapes]
    parameters = template.parse(parse_pairs("--set", settings))
    results = [_try(owner, template, target, parameters) for target in targets]
    if as_json:
        print_json({"template": template.name, "file": str(template.path), "heads": results})
        return
    rows = [(_show(r["shape"]), f"{r['parameters']:,}", f"{r['macs']:,}", _show(r["output"])) for r in results]
    print_table(("tensor", "parameters", "MACs", "output"), rows)
    click.echo(f"{template.name} is fine")


@dataclass(frozen=True)
class _Target:
    """A tensor to classify: its shape without the batch, and the same with numbers for dimensions that vary."""

    shape: tuple[int | str, ...]
    example: tuple[int, ...]
    classes: int
    classifier: list[str] | None


def _owner(name: str) -> Framework:
    """The framework whose templates go by that name.

    Raises:
        UnknownName: no framework makes its heads of its own templates under that name.
    """
    from edgepart import plugins
    from edgepart.frameworks import framework

    known = [each for each in map(framework, plugins.names("framework")) if each.templates == each.name]
    for each in known:
        if each.name == name:
            return each
    raise UnknownName("framework of templates", name, [each.name for each in known])


def _try(owner: Framework, template: Template, target: _Target, parameters: dict[str, Any]) -> dict[str, Any]:
    source = render(
        template,
        shape=target.shape,
        layout=owner.layout,
        classes=target.classes,
        name="check",
        parameters=parameters,
        classifier=target.classifier,
    )
    size = owner.try_head(source, target.example, target.classes, f"the head of '{template.name}'")
    return {
        "shape": ["batch", *target.shape],
        "parameters": size.parameters,
        "macs": size.macs,
        "output": ["batch", target.classes],
    }


def _of_model(
    owner: Framework, loaded: LoadedModel, layer: str, classes: int | None, needs_classifier: bool
) -> _Target:
    from edgepart.frameworks.builder import is_single
    from edgepart.graph.sizes import evaluate_size

    builder = owner.builder(loaded.model, loaded.example)
    graph = builder.program.graph
    features = [name for name in graph.after(layer).tensors if graph.tensor(name).feature]
    if len(features) != 1:
        crossing = ", ".join(features) or "none"
        raise GraphError(
            f"no single tensor leaves '{layer}' of '{graph.name}' (features: {crossing}), so no head can sit there: "
            "choose another layer"
        )
    shape = graph.tensor(features[0]).shape[1:]
    return _Target(
        shape,
        tuple(evaluate_size(size, graph.symbols) for size in shape),
        classes or (2 if is_single(graph) else int(graph.tensor(graph.outputs[0]).shape[-1])),
        builder.classifier(shape) if needs_classifier else None,
    )


def _shape(rank: int, owner: Framework) -> tuple[int | str, ...]:
    return CHANNELS_LAST if rank == 3 and owner.layout == "channels_last" else SHAPES[rank]


def _parse_shape(text: str) -> tuple[int | str, ...]:
    pieces = re.split(r"\s*[x×,]\s*", text.strip("() "))
    if not all(re.fullmatch(r"[1-9]\d*|[a-wyzA-Z_]\w*", piece) for piece in pieces):
        raise TemplateError(f"--shape {text} is no shape: expected sizes of one sample, such as 64x8x8 or sequencex384")
    return tuple(int(piece) if piece.isdigit() else piece for piece in pieces)


def _example(shape: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else VARIABLE for size in shape)


def _fields(template: Template) -> dict[str, Any]:
    return {
        **template.header.model_dump(mode="json", exclude_none=True),
        "needs_classifier": template.needs_classifier,
        "file": str(template.path),
    }


def _takes(template: Template) -> str:
    layout = _owner(template.header.framework).layout
    return " or ".join(shape_names(rank, layout) for rank in template.header.input_ranks)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return f"one of {', '.join(map(str, parameter.choices))}"
    bounds = (("from", parameter.minimum), ("to", parameter.maximum))
    return " ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None) or "any"


def _show(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"
