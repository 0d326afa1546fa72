"""The joint search as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgepart.bundle.bundle import Bundle
from edgepart.dispatch.threshold import DEFAULT_STRATEGY
from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.partitioning.problem import Problem
from edgepart.search.bank import Bank, open_banks
from edgepart.search.front import ACCURACY, Front
from edgepart.search.listing import Listing, best_of, enumerate_all, listing
from edgepart.search.over_routes import Found, over_routes
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
    tell: Callable[[str], None] = lambda text: None,
) -> Front:
    """Choose exits, their heads, thresholds and the placement at once; every choice is scored from recorded answers.

    Where there are few choices all of them are tried and the front is proven. Where there are many, a study of trials
    looks for good ones, by small changes to the best so far and NSGA-II (Deb and others, 2002).

    Args:
        problem: the network, tiers, links and limits (:func:`edgepart.partitioning.make_problem.make_problem`); its
            objective is not looked at
        banks: built bundles of the network, whose validation data says what their exits answer
        objectives: ``accuracy`` and quantities, as ``latency``, ``mobile.energy`` or ``mobile.memory``
        runtime: that the profile was measured on, for the plans
        strategy: who leaves, one with a threshold; ``grid`` are its thresholds
        separate: a threshold for each exit, rather than one for all
        exits_per_part: the most exits in one tier
        trials: of the study, those that the storage holds already included; for each route, where there are several
        storage: of the trials, where they go on from: an Optuna storage URL, the path of a journal file, or None
        most_listed: choices up to which all are tried if each has to be worked out by itself; where they are scored
            from tables, 50 times as many with one cost, 2,500 times, placements counted, with several
        tell: told, while it goes on, what the user should know: that it waits for another search

    Raises:
        BundleError: a bank that is not complete, or not of the same network or samples.
        UnknownName: no such objective or strategy.
        InfeasiblePlan: no placement keeps to the limits, or no trial found one.
        PlanError: objectives that cannot be searched for, or no exit to choose.
        SearchInterrupted: Ctrl-C before any point was found; afterwards, ``stopped`` of the front says so.
        FileError: the storage cannot be reached or is damaged, and no point was found before.
        MissingExtra: Optuna is needed and not installed.
    """
    if trials < 1:
        raise PlanError(f"{trials} trials: expected 1 or more")
    bank = banks if isinstance(banks, Bank) else open_banks(banks, problem.graph, strategy, grid)
    space = make_space(problem, bank, objectives, separate, exits_per_part)

    def one(of: Space) -> Found:
        small = listing(of, most_listed)
        if small is not None:
            return _tried(of, small)
        return _looked_for(Study(of, storage, seed, tell), trials)

    def on_route(where: Problem, asked: Sequence[str]) -> Found:
        return one(make_space(where, bank, asked, separate, exits_per_part))

    found = one(space) if problem.joined is None else over_routes(problem, space.objectives, on_route)
    if not found.points:
        if found.stopped is not None:
            raise found.stopped
        raise InfeasiblePlan(f"{found.how}: loosen a limit, or give more trials")
    return Front(
        problem=space.bounded,
        objectives=space.objectives,
        points=tuple(found.points),
        proven=found.proven,
        how=found.how,
        strategy=space.bank.strategy,
        runtime=runtime,
        cautions=space.bank.cautions,
        trials=found.trials,
        stopped=found.stopped,
    )


def _tried(space: Space, what: Listing) -> Found:
    points, exact = enumerate_all(space, what)
    how = f"all {what.count} choices tried" + ("" if exact else ", some placements are within a gap of the best")
    return Found(points, exact, how)


def _looked_for(study: Study, trials: int) -> Found:
    done, stopped = study.run(trials)
    points = study.points()
    how = f"found by {done} trials, not proven" if points else f"none of {done} trials keeps to the limits"
    return Found(best_of(study.space, points) if points else [], False, how, done, stopped)
