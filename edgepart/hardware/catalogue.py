"""The shipped and the user's own devices, links and prices (``profiles/*/*.yaml``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from edgepart import resources
from edgepart.errors import FileError
from edgepart.files import Record, write_text
from edgepart.hardware.device import Device
from edgepart.hardware.link import Link
from edgepart.hardware.price import DimecPrice, ServerlessPrice
from edgepart.invalid import explain
from edgepart.yaml_fields import read_fields

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
    loaded: Device = _load(_find("profiles/devices", name, "device"), "device", Device)
    return loaded


def link(name: str) -> Link:
    """Load a link by name or path; raises as :func:`device`."""
    loaded: Link = _load(_find("profiles/links", name, "link"), "link", Link)
    return loaded


def price(name: str) -> ServerlessPrice | DimecPrice:
    """Load a price by name or path; raises as :func:`device`."""
    path = _find("profiles/prices", name, "price")
    loaded: ServerlessPrice | DimecPrice = _load(path, "price", ServerlessPrice, DimecPrice)
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


def _load(path: Path, what: str, *kinds: type[Record]) -> Any:
    """The record in a file: of the only kind, or of that whose ``model`` the file names."""
    value = read_fields(path)
    value.setdefault("name", path.name.removesuffix(".yaml"))
    try:
        kind = kinds[0] if len(kinds) == 1 else _kind(value.get("model"), kinds)
        wrong = next((name for name, one in value.items() if isinstance(one, bool)), None)
        if wrong is not None:  # no field is yes or no, and yes would count as 1
            raise FileError(
                f"field '{wrong}' is {'yes (true)' if value[wrong] else 'no (false)'}, expected no such value"
            )
        return kind.model_validate(value)
    except ValidationError as error:
        raise FileError(f"{path} is not a valid {what}: {explain(error, kind.model_fields)}") from error
    except FileError as error:
        raise FileError(f"{path} is not a valid {what}: {error}") from None


def _kind(model: object, kinds: Sequence[type[Record]]) -> type[Record]:
    by_model = {get_args(kind.model_fields["model"].annotation)[0]: kind for kind in kinds}
    expected = " or ".join(f"'{name}'" for name in by_model)
    if model is None:
        raise FileError(f"field 'model' is missing, expected {expected}")
    found = by_model.get(str(model))
    if found is None:
        raise FileError(f"field 'model' is '{model}', expected {expected}")
    return found
