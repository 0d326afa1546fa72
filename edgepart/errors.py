"""Every error edgepart raises on purpose.

An :class:`EdgepartError` is the user's to mend: its message is one sentence that says what was given, what
was expected and what to do. The CLI prints that sentence and exits with code 2, without a traceback.
Anything else that escapes is a defect of edgepart.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgepartError(Exception):
    """Base of all errors caused by what edgepart was given."""


class UnknownName(EdgepartError):
    """A device, link, strategy, head, layer … that does not exist; names the nearest ones."""

    def __init__(self, what: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
        shown = near or names[:12]
        lead = "did you mean" if near else "known are" if len(names) <= 12 else "known are, among others,"
        hint = f"; {lead} {', '.join(shown)}" + ("?" if near else "") if shown else "; none are known"
        super().__init__(f"unknown {what} '{given}'{hint}")
        self.given = given
        self.known = tuple(names)


class MissingExtra(EdgepartError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}', which is not installed: pip install 'edgepart[{extra}]'")


class FileError(EdgepartError):
    """A file is missing, unreadable, of another kind or version, or fails validation."""


class DataError(EdgepartError):
    """The user's data set does not fit: labels outside the classes, an empty class, a wrong shape …"""


class ModelError(EdgepartError):
    """A MODEL argument that cannot be loaded."""


class CaptureError(ModelError):
    """The framework cannot turn the network into a graph."""


class GraphError(EdgepartError):
    """A graph, boundary or set of layers that is not legal."""


class ProfileError(EdgepartError):
    """A profile that cannot be made, or does not belong to the network at hand."""


class MeasurementError(EdgepartError):
    """A link or a running part that cannot be measured: nobody answers, a process ended, cores that do not exist."""


class PlanError(EdgepartError):
    """A plan that contradicts itself, its profile or its network."""


class InfeasiblePlan(PlanError):
    """No placement satisfies the limits; says which limit fails and by how much."""


class UndecidedPlan(PlanError):
    """In the time given, no placement within the limits was found, nor shown not to exist."""


class TemplateError(EdgepartError):
    """An exit template that cannot be read, rendered, compiled or run."""


class TrainingError(EdgepartError):
    """Training cannot start or go on (NaN logits, for one)."""


class TrainingInterrupted(EdgepartError):
    """Ctrl-C during training; says how to resume."""


class SearchInterrupted(EdgepartError):
    """Ctrl-C during a search; says how to go on."""


class ExportError(EdgepartError):
    """A part that a runtime cannot hold; names the operation and the layer."""


class BundleError(EdgepartError):
    """A bundle that is incomplete, corrupt or of another network."""


class DispatchError(EdgepartError):
    """A dispatch strategy or cost model that was given settings it cannot work with."""
