"""Large spaces: an Optuna study, which goes on where it was left and which many machines can share.

A trial is a choice of exits with thresholds and a placement; what that is worth is told to Optuna. Beside it, the exits
of a trial are scored with as many other thresholds and placements as can be done at once
(:mod:`edgepart.search.findings`). Trials are small changes to the best so far (:mod:`edgepart.search.moves`), and some
are made by NSGA-II.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgepart.errors import EdgepartError, FileError, MissingExtra, SearchInterrupted
from edgepart.files import require_parent
from edgepart.progress import progress
from edgepart.search.choices import Choices
from edgepart.search.findings import Findings
from edgepart.search.front import ACCURACY, Point
from edgepart.search.moves import Moves, sampler
from edgepart.search.pool import make_pool
from edgepart.search.space import Space

if TYPE_CHECKING:
    import optuna

#: individuals of a generation; part of the study, so that one goes on alike whoever runs it
POPULATION = 32
#: changes that are looked at for one that was not tried
_TRIES = 20
#: of the trials after the first generation, those that are left to NSGA-II
_CROSSED = 0.15


class Study:
    """A search that goes on where it was left; its name is a digest of the space, so that only equal ones share it."""

    def __init__(
        self, space: Space, storage: str | Path | None, seed: int = 0, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """Open the study, or begin it.

        Args:
            storage: an Optuna storage URL, the path of a journal file, or None for the memory of this process
            tell: told once if the journal is held by another process for more than a few seconds

        Raises:
            MissingExtra: Optuna is not installed.
            FileError: the storage cannot be reached, or is damaged.
        """
        if importlib.util.find_spec("optuna") is None:
            raise MissingExtra("optuna", "optuna")
        self.space, self.storage, self.seed = space, storage, seed
        self.name = f"edgepart-{_digest(space)}"
        self._pool = make_pool(space)
        self._choices = Choices(space, self._pool)
        self._findings = Findings(self._choices)
        self._variables = self._choices.variables()
        with _quiet(), self._reached(ImportError, ValueError):
            self._study = _open(self.name, storage, space, tell)

    def finished(self) -> int:
        """Trials that have been scored, by whomever."""
        return len(self._trials("COMPLETE", "PRUNED"))

    def run(self, trials: int) -> tuple[int, EdgepartError | None]:
        """Go on until so many trials are finished; how many are, and what kept the search from it.

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
            return done, SearchInterrupted(
                f"interrupted after {done} of {trials} trials: run the same command again to go on"
            )
        except FileError as error:
            if self._findings.empty:
                raise
            return done, FileError(f"after {done} of {trials} trials: {error}")
        return done, None

    def points(self) -> list[Point]:
        """The best of all trials; of those looked at before, where the storage cannot be reached any more."""
        with contextlib.suppress(FileError), _quiet(), self._reached():
            self._look()
        return self._findings.points(self._score)

    def _trial(self) -> None:
        """Ask, score and tell; the chances depend on the trials so far, so that a search goes on as if never left."""
        import optuna

        self._look()
        number = self.finished() + len(self._trials("RUNNING"))
        seed, chances = np.random.SeedSequence([self.seed, self.finished(), number]).spawn(2)
        random = np.random.default_rng(chances)
        self._study.sampler = sampler(
            self._variables, lambda: self._propose(random, number), POPULATION, int(seed.generate_state(1)[0])
        )
        trial = self._study.ask(self._variables)
        try:
            point = self._score(trial.params)
        except BaseException:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        self._findings.note(trial.number, trial.params, None if point is None else point.values)
        if point is None:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, list(point.values))

    def _propose(self, random: np.random.Generator, number: int) -> Mapping[str, Any] | None:
        """A change to one of the best choices that gives exits which were not tried; None leaves it to NSGA-II."""
        moves = Moves(self.space, random, self._pool is not None or len(self.space.costs) == 1)
        first = moves.first(number) if number < POPULATION else None
        if first is not None or number < POPULATION or random.random() < _CROSSED:
            return first
        for _ in range(_TRIES):
            parent = self._findings.pick(random)
            chosen = None if parent is None else moves.near(parent)
            if chosen is not None and not self._findings.has(chosen):
                return chosen
        return None

    def _look(self) -> None:
        """Take in what others, or this search before it was interrupted, have tried."""
        for trial in self._trials("COMPLETE", "PRUNED"):
            self._findings.note(trial.number, trial.params, trial.values)

    def _score(self, chosen: Mapping[str, Any]) -> Point | None:
        return self._choices.point(chosen)

    def _trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self._study.get_trials(deepcopy=False, states=[TrialState[name] for name in states])

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


def _open(name: str, storage: str | Path | None, space: Space, tell: Callable[[str], None]) -> optuna.Study:
    import optuna

    directions: list[Literal["minimize", "maximize"]] = [
        "maximize" if objective == ACCURACY else "minimize" for objective in space.objectives
    ]
    create = functools.partial(optuna.create_study, study_name=name, directions=directions, load_if_exists=True)
    if storage is None or "://" in str(storage):
        return create(storage=None if storage is None else str(storage))
    from edgepart.search.journal import open_journal, readable

    journal = Path(storage)
    require_parent(journal)
    opened = open_journal(journal, tell)
    with readable(journal):
        return create(storage=opened)


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
        [(tier.runtime_bytes, tier.start_s) for tier in problem.tiers],
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
