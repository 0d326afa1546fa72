"""Sizes of tensors as expressions over batch and sequence lengths, fitted to what they are at several values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from edgepart.graph.sizes import evaluate_size

Symbols = Mapping[str, int]
#: how much longer sequences are than in the example, and the batch: for sizes that are linear, and for any other
_FEW = ((1, 3), (2, 2), (5, 3), (12, 5))
_MANY = tuple((more, 2) for more in (3, 4, 6, 7, 8, 9, 10, 11, 13, 16, 21, 34, 55))
_LONGEST_STRIDE = 32


def probes(symbols: Symbols, many: bool = False) -> list[dict[str, int]]:
    """Values of the symbols that tell expressions apart; the first are those of the example, at batch 1.

    Sequences grow by different amounts, such that no two are of the same length by chance.
    """
    lengths = [name for name in symbols if name != "batch"]
    if not lengths:
        return [dict(symbols), {"batch": 2}, {"batch": 5}]
    found = [dict(symbols)]
    for more, batch in (*_FEW, *(_MANY if many else ())):
        longer = {name: symbols[name] + more * (2 * place + 1) for place, name in enumerate(lengths)}
        found.append({name: longer.get(name, batch) for name in symbols})
    return found


def fit(values: Sequence[int], at: Sequence[Symbols], strides: bool = False) -> int | str | None:
    """The simplest expression that gives all values, or None; ``strides`` tries those with a floor division too."""
    if len(set(values)) == 1:
        return values[0]
    names = list(at[0])
    products = [*names, *(f"{a}*{b}" for a, b in itertools.combinations_with_replacement(names, 2))]
    terms = {term: [evaluate_size(term, symbols) for symbols in at] for term in products}
    for a, b in itertools.combinations(names, 2):
        terms[f"({a} + {b})"] = [x + y for x, y in zip(terms[a], terms[b], strict=True)]
    for term, sizes in [*terms.items(), *(_divided(terms) if strides else ())]:
        linear = _linear(sizes, values)
        if linear is not None:
            factor, shift = linear
            return _plus(term if factor == 1 else f"{factor}*{term}", shift)
    return None


def _divided(terms: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, list[int]]]:
    """(length + shift) // stride, as convolutions and pooling with strides make."""
    for stride in range(2, _LONGEST_STRIDE + 1):
        for term, sizes in terms.items():
            for shift in range(stride):
                inner = f"({_plus(term, shift)})" if shift else term
                yield f"({inner}//{stride})", [(size + shift) // stride for size in sizes]


def _linear(sizes: Sequence[int], values: Sequence[int]) -> tuple[int, int] | None:
    """Factor and shift that make the values of the sizes."""
    other = next((place for place, size in enumerate(sizes) if size != sizes[0]), None)
    if other is None:
        return None
    factor, rest = divmod(values[other] - values[0], sizes[other] - sizes[0])
    shift = values[0] - factor * sizes[0]
    fits = all(factor * size + shift == value for size, value in zip(sizes, values, strict=True))
    return (factor, shift) if fits and not rest and factor else None


def _plus(term: str, shift: int) -> str:
    return term if not shift else f"{term} + {shift}" if shift > 0 else f"{term} - {-shift}"
