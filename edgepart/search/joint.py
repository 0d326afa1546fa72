"""The joint search as one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepart.bundle.bundle import Bundle
from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.evaluation.exit_shares import DEFAULT_STRATEGY
from edgepart.partitioning.problem import Problem
from edgepart.search.bank import Bank, open_banks
from edgepart.search.front import ACCURACY, Front, Point
from edgepart.search.listing import best_of, enumerate_all, tried
from edgepart.search.space import Space, make_space
from edgepart.search.study import Study

TRIALS = 1000
#: choices that are tried one by one, rather than searched
MOST_LISTED = 20_000


def search(
    problem: Problem,
    banks: Bank | Sequence[str | Path | Bundle],
    objectives: Sequence[str] = (ACCURACY, "latency"),
    *,
    runtime: str = "",
    strategy: str = DEFAULT_STRATEGY,
    grid: Sequence[float] = THRESHOLDS,
    separate: bool = False,
    exits_per_part: int = 3,
    trials: int = TRIALS,
    seed: int = 0,
    storage: str | Path | None = None,
    most_listed: int = MOST_LISTED,
) -> Front:
    """Choose exits, their heads, thresholds and the placement at once; every choice is scored from recorded answers.

    Where there are few choices all of them are tried and the front is proven. Where there are many, NSGA-II looks for
    good ones (Deb and others, 2002).

    Args:
        problem: the network, tiers, links and limits (:func:`edgepart.partitioning.make_problem.make_problem`); its
            objective is not looked at
        banks: built bundles of the network, whose validation data says what their exits answer
        objectives: ``accuracy`` and quantities, as ``latency``, ``mobile.energy`` or ``mobile.memory``
        runtime: that the profile was measured on, for the plans
        strategy: who leaves, one with a threshold; ``grid`` are its thresholds
        separate: a threshold for each exit, rather than one for all
        exits_per_part: the most exits in one tier
        trials: of NSGA-II, those that the storage holds already included
        storage: of the trials, where they go on from: an Optuna storage URL, the path of a journal file, or None
        most_listed: choices up to which all are tried

    Raises:
        BundleError: a bank that is not complete, or not of the same network or samples.
        UnknownName: no such objective or strategy.
        InfeasiblePlan: no placement keeps to the limits, or no trial found one.
        PlanError: objectives that cannot be searched for, or no exit to choose.
        FileError: the storage cannot be reached.
        MissingExtra: Optuna is needed and not installed.
    """
    if trials < 1:
        raise PlanError(f"{trials} trials: expected 1 or more")
    bank = banks if isinstance(banks, Bank) else open_banks(banks, problem.graph, strategy, grid)
    space = make_space(problem, bank, objectives, separate, exits_per_part)
    small = tried(space, most_listed)
    if small is not None:
        count, placements = small
        points, exact = enumerate_all(space, placements)
        how = f"all {count} choices tried" + ("" if exact else ", some placements are within a gap of the best")
        return _front(space, points, exact, how, runtime)
    study = Study(space, storage, seed)
    done, stopped = study.run(trials)
    found = study.points()
    if not found:
        raise InfeasiblePlan(
            f"none of {done} trials keeps to the limits{f' ({stopped})' if stopped else ''}: loosen a limit, or give "
            "more trials"
        )
    how = f"found by {done} trials, not proven"
    return _front(space, best_of(space, found), False, how, runtime, stopped)


def _front(space: Space, points: Sequence[Point], proven: bool, how: str, runtime: str, stopped: str = "") -> Front:
    return Front(
        problem=space.bounded,
        objectives=space.objectives,
        points=tuple(points),
        proven=proven,
        how=how,
        strategy=space.bank.strategy,
        runtime=runtime,
        cautions=(*space.bank.cautions, *([stopped] if stopped else [])),
    )
