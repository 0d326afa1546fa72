"""``edgepart prices``."""

from __future__ import annotations

from edgepart.cli.catalogue import catalogue_group
from edgepart.hardware import DimecPrice, ServerlessPrice, catalogue


def _row(price: ServerlessPrice | DimecPrice) -> tuple[str, ...]:
    return (price.name, price.model, price.title)


HEADERS = ("price", "model", "what it is")
command = catalogue_group("price", catalogue.prices, catalogue.price, HEADERS, _row)
