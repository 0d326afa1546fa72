"""The fields of a YAML file: each once, and numbers with an exponent read as numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from edgepart.errors import FileError


def read_fields(path: Path) -> dict[str, Any]:
    """Field → value, as the file has them.

    Raises:
        FileError: cannot be read, is not YAML or holds no fields, or a field is given twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file, expected YAML") from None
    return parse_fields(text, str(path))


def parse_fields(text: str, source: str, first_line: int = 1) -> dict[str, Any]:
    """Field → value, as a text has them.

    Args:
        source: where the text stands, named in errors
        first_line: of the text in its source

    Raises:
        FileError: as :func:`read_fields`.
    """
    try:
        value = yaml.load(text, _Loader)
    except _Twice as error:
        raise FileError(
            f"{source}, line {error.line + first_line}: '{error.name}' is given twice: give it once"
        ) from None
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + first_line})" if error.problem_mark else ""
        why = ", ".join(filter(None, (error.context, error.problem)))
        raise FileError(f"{source} is not valid YAML{where}: {why}") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter: a date that does not exist
        raise FileError(f"{source} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict):
        raise FileError(f"{source} holds no fields, expected lines such as 'name: value'")
    return value


class _Twice(Exception):
    def __init__(self, name: str, line: int) -> None:
        super().__init__(name)
        self.name, self.line = name, line


class _Loader(yaml.SafeLoader):
    """PyYAML keeps the last of several values of a field, and takes 4e9 for text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _Twice(key.value, key.start_mark.line)
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
