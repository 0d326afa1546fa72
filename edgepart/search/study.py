"""Large spaces: NSGA-II over an Optuna study, which goes on where it was left and which many machines can share.

One variable for each place (no exit, or which head), one for the threshold or for that of each place. Where several
costs trade off against each other, the placement is one as well: the least of one of the costs, found exactly for the
exits at hand, or by hops, each of which cuts the topological order at a place of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgepart.errors import FileError, MissingExtra, PlanError
from edgepart.files import require_parent
from edgepart.partitioning.charges import additive
from edgepart.partitioning.prefixes import cut_at
from edgepart.partitioning.quantities import quantity
from edgepart.progress import progress
from edgepart.search.front import ACCURACY, Point, minimised, nondominated
from edgepart.search.space import Heads, Levels, Space

if TYPE_CHECKING:
    import optuna

#: individuals of a generation; part of the study, so that one goes on alike whoever runs it
POPULATION = 32
_CUTS = "cuts"


class Study:
    """A search that goes on where it was left; its name is a digest of the space, so that only equal ones share it."""

    def __init__(self, space: Space, storage: str | Path | None, seed: int = 0) -> None:
        """``storage``: an Optuna storage URL, the path of a journal file, or None for the memory of this process.

        Raises:
            MissingExtra: Optuna is not installed.
            FileError: the storage cannot be reached.
        """
        if importlib.util.find_spec("optuna") is None:
            raise MissingExtra("optuna", "optuna")
        self.space, self.storage, self.seed = space, storage, seed
        self.name = f"edgepart-{_digest(space)}"
        self._known: dict[tuple[object, ...], Point | None] = {}
        with _quiet(), self._reached(ImportError, ValueError):
            self._study = _open(self.name, storage, space)

    def finished(self) -> int:
        """Trials that have been scored, by whomever."""
        return len(self._trials("COMPLETE", "PRUNED"))

    def run(self, trials: int) -> tuple[int, str]:
        """Go on until so many trials are finished; how many are, and what kept the search from it, in a sentence.

        Raises:
            FileError: the storage cannot be reached, and nothing was found before.
        """
        done = 0
        try:
            with _quiet(), self._reached():
                done = self.finished()
                with progress("trials", max(0, trials - done)) as advance:
                    while done < trials:
                        self._trial()
                        before, done = done, self.finished()
                        advance(done - before)
        except KeyboardInterrupt:
            return done, f"interrupted after {done} of {trials} trials: run the same command again to go on"
        except FileError as error:
            if not self._known:
                raise
            return done, f"after {done} of {trials} trials: {error}"
        return done, ""

    def points(self) -> list[Point]:
        """The best of all trials; those of this process alone where the storage cannot be reached any more."""
        try:
            with _quiet(), self._reached():
                trials = self._trials("COMPLETE")
        except FileError:
            return [point for point in self._known.values() if point is not None]
        best = nondominated(minimised([trial.values for trial in trials], self.space.objectives))
        found = [self._score(trials[index].params) for index in best]
        return [point for point in found if point is not None]

    def _trial(self) -> None:
        """Ask, score and tell; the chances depend on the trials so far, so that a search goes on as if never left."""
        import optuna

        running = len(self._trials("RUNNING"))
        state = np.random.SeedSequence([self.seed, self.finished(), running]).generate_state(1)
        self._study.sampler = _sampler(self._variables, int(state[0]))
        trial = self._study.ask(self._variables)
        try:
            point = self._score(trial.params)
        except BaseException:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        if point is None:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, list(point.values))

    def _trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self._study.get_trials(deepcopy=False, states=[TrialState[name] for name in states])

    @cached_property
    def _variables(self) -> dict[str, optuna.distributions.BaseDistribution]:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        space = self.space
        level = IntDistribution(0, len(space.bank.levels) - 1)
        found: dict[str, optuna.distributions.BaseDistribution] = {} if space.separate else {"threshold": level}
        for place, heads in enumerate(space.bank.places):
            found[f"exit {place}"] = CategoricalDistribution(tuple(range(len(heads) + 1)))
            if space.separate:
                found[f"threshold {place}"] = level
        if len(space.costs) > 1:
            found["placement"] = CategoricalDistribution((*_solvable(space), _CUTS))
            for hop in range(len(space.problem.links)):
                found[f"cut {hop}"] = IntDistribution(0, len(space.problem.graph.layers))
        return found

    def _score(self, chosen: Mapping[str, Any]) -> Point | None:
        """The point of a choice; None where it is not allowed."""
        placement = chosen.get("placement", self.space.costs[0])
        tier_of = None
        if placement == _CUTS:
            ends = sorted(chosen[f"cut {hop}"] for hop in range(len(self.space.problem.links)))
            tier_of = cut_at(self.space.problem, ends)
        heads, levels = self._exits(chosen, tier_of)
        key = (heads, levels, placement if tier_of is None else tuple(tier_of.values()))
        if key not in self._known:
            exits = self.space.exits(heads, levels)
            try:
                found = self.space.best(exits, placement) if tier_of is None else self.space.placed(exits, tier_of)
            except PlanError:  # nothing keeps to the limits, or nothing was found in time
                found = None
            self._known[key] = found
        return self._known[key]

    def _exits(self, chosen: Mapping[str, Any], tier_of: Mapping[str, int] | None) -> tuple[Heads, Levels]:
        """The exits of a choice; those that a tier has no room for are left out, so that no choice is wasted."""
        space, layers = self.space, self.space.problem.graph.layers
        room = dict.fromkeys(range(len(space.problem.tiers)), space.most_exits)
        heads: list[int | None] = []
        levels: list[int] = []
        for place, here in enumerate(space.bank.places):
            number = chosen[f"exit {place}"]
            tier = None if tier_of is None else tier_of[layers[here[0].depth - 1].name]
            full = len(levels) >= space.most_in_all if tier is None else room[tier] == 0
            if not number or full:
                heads.append(None)
                continue
            if tier is not None:
                room[tier] -= 1
            heads.append(number - 1)
            levels.append(chosen[f"threshold {place}" if space.separate else "threshold"])
        return self._needed(tuple(heads), tuple(levels))

    def _needed(self, heads: Heads, levels: Levels) -> tuple[Heads, Levels]:
        """Without the exits at which nobody leaves: no quantity is lower with them than without."""
        shares = self.space.exits(heads, levels).shares
        before = [1.0, *(share.going_on for share in shares)]
        used = [share.going_on < came for share, came in zip(shares, before, strict=False)]
        places = [place for place, head in enumerate(heads) if head is not None]
        kept = {place for place, on in zip(places, used, strict=True) if on}
        return (
            tuple(head if place in kept else None for place, head in enumerate(heads)),
            tuple(level for level, on in zip(levels, used, strict=True) if on),
        )

    @contextmanager
    def _reached(self, *more: type[Exception]) -> Iterator[None]:
        """What a storage raises where it cannot be reached, as one sentence; ``more``: while it is opened."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        expected: tuple[type[Exception], ...] = (StorageInternalError, SQLAlchemyError, OSError, *more)
        try:
            yield
        except expected as error:
            where = re.sub(r"://[^@/]*@", "://", str(self.storage))
            why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise FileError(
                f"cannot reach the storage {where} of the search ({why}): what it holds is kept, run again when it can "
                "be reached, or name another one with --storage"
            ) from error


def _sampler(variables: Mapping[str, optuna.distributions.BaseDistribution], seed: int) -> optuna.samplers.BaseSampler:
    """NSGA-II for variables that are the same in every trial, which Optuna would compare over all trials each time."""
    from optuna.samplers import NSGAIISampler

    class FixedSpace(NSGAIISampler):
        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return {name: variable for name, variable in variables.items() if not variable.single()}

    return FixedSpace(population_size=POPULATION, seed=seed)


def _solvable(space: Space) -> tuple[str, ...]:
    """The costs whose best placement is found quickly."""
    names = space.problem.tier_names
    return tuple(name for name in space.costs if additive(space.problem, quantity(name, names)) is not None)


def _open(name: str, storage: str | Path | None, space: Space) -> optuna.Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    directions: list[Literal["minimize", "maximize"]] = [
        "maximize" if objective == ACCURACY else "minimize" for objective in space.objectives
    ]
    place: Any = storage
    if storage is not None and "://" not in str(storage):
        require_parent(Path(storage))
        place = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
    return optuna.create_study(study_name=name, storage=place, directions=directions, load_if_exists=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own log of every trial."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _digest(space: Space) -> str:
    """Of everything that a choice's value depends on."""
    problem, bank = space.problem, space.bank
    stated = [
        problem.graph.fingerprint,
        [(tier.name, tier.device, dict(tier.latency_s), tier.memory_limit_bytes, tier.price) for tier in problem.tiers],
        problem.links,
        (problem.pins, problem.limits, problem.together, problem.kept, problem.answer_bytes),
        sorted((layer, sorted(tiers)) for layer, tiers in problem.forbidden.items()),
        (space.objectives, space.separate, space.most_exits, bank.levels),
    ]
    found = hashlib.sha256(repr(stated).encode())
    found.update(bank.final_correct.tobytes())
    for head in (head for heads in bank.places for head in heads):
        found.update(repr((head.tensor, head.template, dict(head.parameters), head.macs, head.bytes)).encode())
        found.update(head.certainty.tobytes() + head.correct.tobytes())
    return found.hexdigest()[:16]
