"""The shipped and the user's own devices, links and prices (``profiles/*/*.yaml``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from edgepart import resources
from edgepart.errors import FileError
from edgepart.files import explain, write_text
from edgepart.hardware.device import Device
from edgepart.hardware.link import Link
from edgepart.hardware.price import DimecPrice, Price, ServerlessPrice

#: the name that stands for the machine a profile was measured on
THIS = "this"


def devices() -> dict[str, Path]:
    return resources.listing("profiles/devices", ".yaml")


def links() -> dict[str, Path]:
    return resources.listing("profiles/links", ".yaml")


def prices() -> dict[str, Path]:
    return resources.listing("profiles/prices", ".yaml")


def device(name: str) -> Device:
    """Load a device by name or from the path of a YAML file.

    Raises:
        UnknownName: no such device; lists the nearest names.
        FileError: the file does not exist, is not YAML or a field does not validate.
    """
    loaded: Device = _load(_find("profiles/devices", name, "device"), TypeAdapter(Device))
    return loaded


def link(name: str) -> Link:
    """Load a link by name or path; raises as :func:`device`."""
    loaded: Link = _load(_find("profiles/links", name, "link"), TypeAdapter(Link))
    return loaded


def price(name: str) -> ServerlessPrice | DimecPrice:
    """Load a price by name or path; raises as :func:`device`."""
    path = _find("profiles/prices", name, "price")
    loaded: ServerlessPrice | DimecPrice = _load(path, TypeAdapter(Price))
    return loaded


def write_device(path: str | Path, device: Device) -> None:
    """Write a device's YAML file, atomically; its name is the file's.

    Raises:
        FileError: the folder is missing or the disk is full.
    """
    fields = device.model_dump(exclude={"name"}, exclude_none=True, exclude_defaults=True)
    write_text(path, yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120))


def _find(folder: str, name: str, what: str) -> Path:
    if name.endswith(".yaml") and not Path(name).is_file():
        raise FileError(f"{name} does not exist: give a {what}'s file, or a name that 'edgepart {what}s list' shows")
    return resources.find(folder, ".yaml", name, what)


def _load(path: Path, adapter: TypeAdapter[Any]) -> Any:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict):
        raise FileError(f"{path} holds no fields, expected a YAML mapping as in the shipped profiles")
    value.setdefault("name", path.name.removesuffix(".yaml"))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise FileError(f"{path} is not valid: {explain(error)}") from error
