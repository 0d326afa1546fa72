"""Split a trained network over mobile, edge and cloud, with early exits, at a measured cost and accuracy.

What is in ``__all__`` is the public interface; anything else may change. A name is imported when it is first used, so
``import edgepart`` costs nothing and imports no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgepart.bundle.build import build
    from edgepart.bundle.bundle import Bundle, open_bundle
    from edgepart.bundle.chosen import ChosenPolicy
    from edgepart.bundle.inference import Answers, infer, infer_all
    from edgepart.dispatch import Trace
    from edgepart.errors import EdgepartError
    from edgepart.evaluation.choosing import choose_policy
    from edgepart.evaluation.evaluate import evaluate
    from edgepart.evaluation.exit_shares import exit_shares
    from edgepart.evaluation.record import record
    from edgepart.evaluation.replay import replay
    from edgepart.evaluation.report import Report
    from edgepart.evaluation.runs import Run, compare_runs
    from edgepart.evaluation.runs_report import RunsReport
    from edgepart.frameworks import Part, capture, split
    from edgepart.graph import Boundary, Graph
    from edgepart.hardware import Profile
    from edgepart.partitioning import Plan, partition
    from edgepart.profiling import profile

__version__: str

__all__ = [
    "Answers",
    "Boundary",
    "Bundle",
    "ChosenPolicy",
    "EdgepartError",
    "Graph",
    "Part",
    "Plan",
    "Profile",
    "Report",
    "Run",
    "RunsReport",
    "Trace",
    "build",
    "capture",
    "choose_policy",
    "compare_runs",
    "evaluate",
    "exit_shares",
    "infer",
    "infer_all",
    "open_bundle",
    "partition",
    "profile",
    "record",
    "replay",
    "split",
]

#: public name → where it comes from, as type checkers see it above
_HOMES = {
    "Answers": "edgepart.bundle.inference",
    "Boundary": "edgepart.graph",
    "Bundle": "edgepart.bundle.bundle",
    "ChosenPolicy": "edgepart.bundle.chosen",
    "EdgepartError": "edgepart.errors",
    "Graph": "edgepart.graph",
    "Part": "edgepart.frameworks",
    "Plan": "edgepart.partitioning",
    "Profile": "edgepart.hardware",
    "Report": "edgepart.evaluation.report",
    "Run": "edgepart.evaluation.runs",
    "RunsReport": "edgepart.evaluation.runs_report",
    "Trace": "edgepart.dispatch",
    "build": "edgepart.bundle.build",
    "capture": "edgepart.frameworks",
    "choose_policy": "edgepart.evaluation.choosing",
    "compare_runs": "edgepart.evaluation.runs",
    "evaluate": "edgepart.evaluation.evaluate",
    "exit_shares": "edgepart.evaluation.exit_shares",
    "infer": "edgepart.bundle.inference",
    "infer_all": "edgepart.bundle.inference",
    "open_bundle": "edgepart.bundle.bundle",
    "partition": "edgepart.partitioning",
    "profile": "edgepart.profiling",
    "record": "edgepart.evaluation.record",
    "replay": "edgepart.evaluation.replay",
    "split": "edgepart.frameworks",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgepart")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgepart' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
