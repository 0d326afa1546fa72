"""Exit templates: Jinja files that are rendered to the source of a head, with a header that declares parameters.

The header is a Jinja comment at the very start of the file that holds YAML::

    {# edgepart
    name: linear
    framework: torch
    summary: One linear layer.
    input_ranks: [1]
    parameters:
      bias: {type: bool, default: true, help: Whether the layer has a bias.}
    #}

A template is the user's own code, as a model script is: it is not run in a sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import jinja2
import jinja2.meta
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from edgepart import resources
from edgepart.errors import FileError, TemplateError, UnknownName
from edgepart.files import Record
from edgepart.invalid import explain
from edgepart.yaml_fields import parse_fields

SUFFIX = ".py.j2"

Value = str | int | float | bool

#: what every template may use besides its own parameters
CONTEXT = {
    "classes": "number of classes",
    "shape": "shape of the tensor without the batch dimension; a dimension that varies is a name such as 'sequence'",
    "channels": "size of the channel dimension: of a map where the framework has it, else the last",
    "rank": "number of dimensions of shape",
    "name": "name of the exit",
    "classifier": "source lines of modules that replicate the network's own classifier, fitted to the tensor",
}

_HEADER = re.compile(r"\A\{#-?\s*edgepart[ \t]*\r?\n(.*?)-?#\}[ \t]*\r?\n?", re.DOTALL)
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


class Parameter(Record):
    """One parameter of a template. ``minimum`` and ``maximum`` are for numbers, both inclusive."""

    type: Literal["str", "int", "float", "bool"]
    default: Value
    help: str
    choices: tuple[Value, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for value in (self.default, *(self.choices or ())):
            wrong = self.wrong(value)
            if wrong:
                raise ValueError(f"{value!r} is given as default or choice, yet {wrong}")
        return self

    def wrong(self, value: object) -> str | None:
        """Why a value cannot be used, as a clause; None if it can."""
        accepted = (int, float) if self.type == "float" else _TYPES[self.type]
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type != "bool"):
            return f"{self.type} is expected"
        if self.choices and value not in self.choices:
            return f"the choices are {', '.join(map(str, self.choices))}"
        if self.minimum is not None and isinstance(value, int | float) and value < self.minimum:
            return f"it must be at least {self.minimum:g}"
        if self.maximum is not None and isinstance(value, int | float) and value > self.maximum:
            return f"it must be at most {self.maximum:g}"
        return None

    def parse(self, text: str) -> Value:
        """The value that a person typed; the text itself where it is not of the declared type."""
        if self.type == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
                text.lower(), text
            )
        try:
            value: Value = _TYPES[self.type](text)
        except ValueError:
            return text
        return value


class Header(Record):
    """What a template declares about itself."""

    name: str
    framework: str
    summary: str
    #: ranks of the tensors it can classify, the batch dimension not counted
    input_ranks: tuple[Literal[1, 2, 3], ...] = Field(min_length=1)
    parameters: dict[str, Parameter] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _check_names(cls, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
        for name in parameters:
            if not name.isidentifier():
                raise ValueError(f"the parameter '{name}' is not a plain name (letters, digits, underscores)")
            if name in CONTEXT:
                raise ValueError(
                    f"the parameter '{name}' hides what every template is given under that name: rename it"
                )
        return parameters


class Template(Record):
    """A template that has been read: its header and its Jinja source. :func:`edgepart.exits.render` renders it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    path: Path
    header: Header
    #: the whole file, header included, so that line numbers are the file's
    source: str

    @property
    def name(self) -> str:
        return self.header.name

    @cached_property
    def variables(self) -> frozenset[str]:
        """Names that the template reads and does not set itself."""
        env = environment()
        return frozenset(jinja2.meta.find_undeclared_variables(env.parse(self.source)) - env.globals.keys())

    @property
    def needs_classifier(self) -> bool:
        """Whether it asks for the network's own classifier."""
        return "classifier" in self.variables

    def resolve(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """The value of every parameter: what is given, and the default of the others.

        Raises:
            UnknownName: the template has no such parameter; lists the nearest ones.
            TemplateError: a value of another type, outside the choices or out of range.
        """
        declared = self.header.parameters
        for name, value in given.items():
            if name not in declared:
                raise UnknownName(f"parameter of the template '{self.name}':", name, declared)
            wrong = declared[name].wrong(value)
            if wrong:
                raise TemplateError(f"the template '{self.name}' was given {name}={value!r}, but {wrong}")
        return {name: given.get(name, parameter.default) for name, parameter in declared.items()}

    def parse(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """What was typed as ``name=value``, converted to the declared types and checked as in :meth:`resolve`."""
        declared = self.header.parameters
        values = {name: declared[name].parse(text) if name in declared else text for name, text in texts.items()}
        self.resolve(values)
        return values


def templates(framework: str) -> dict[str, Path]:
    """Name → path of the shipped templates and the user's own."""
    return resources.listing(_folder(framework), SUFFIX)


def load_template(name_or_path: str | Path, framework: str) -> Template:
    """Read a template by its name, or from the path of a ``.py.j2`` file.

    Raises:
        UnknownName: no such template; lists the nearest names.
        TemplateError: the header is missing or wrong, the Jinja cannot be parsed, or a variable is not declared.
    """
    path = resources.find(_folder(framework), SUFFIX, str(name_or_path), "exit template")
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read the template {path}: {error}") from error
    template = Template(path=path, header=_header(source, path), source=source)
    if template.name != path.name.removesuffix(SUFFIX):
        raise TemplateError(f"the template {path} calls itself '{template.name}': name and file must be the same")
    if template.header.framework != framework:
        raise TemplateError(f"the template '{template.name}' is for {template.header.framework}, not for {framework}")
    _check_variables(template)
    return template


def environment() -> jinja2.Environment:
    """How templates are read: an undefined variable is an error, a line with only a block tag leaves no line.

    Templates may call ``fail("why")`` to refuse a tensor or a combination of parameters, and write a string as
    Python source with the filter ``repr``.
    """
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    env.globals["fail"] = _fail
    env.filters["repr"] = repr
    return env


class Refused(Exception):
    """Raised by ``fail`` inside a template."""


def _fail(why: str) -> str:
    raise Refused(why)


def _folder(framework: str) -> str:
    return f"templates/exits/{framework}"


def _header(source: str, path: Path) -> Header:
    found = _HEADER.match(source)
    if not found:
        raise TemplateError(
            f"the template {path} does not start with a header: expected '{{# edgepart', YAML with name, framework, "
            "summary, input_ranks and parameters, then '#}' (see 'edgepart templates new')"
        )
    try:
        # the first line is the comment's opening
        fields = parse_fields(found[1], f"the header of the template {path}", first_line=2)
    except FileError as error:
        raise TemplateError(str(error)) from error
    try:
        return Header.model_validate(fields)
    except ValidationError as error:
        raise TemplateError(f"the header of the template {path} is not valid: {explain(error)}") from error


def _check_variables(template: Template) -> None:
    try:
        used = template.variables
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{template.path}, line {error.lineno}: {error.message}") from error
    undeclared = sorted(used - CONTEXT.keys() - template.header.parameters.keys())
    if undeclared:
        parameters = ", ".join(template.header.parameters) or "none"
        raise TemplateError(
            f"the template '{template.name}' uses the variable '{undeclared[0]}', which its header does not declare: "
            f"it can use {', '.join(CONTEXT)} and its own parameters ({parameters})"
        )
