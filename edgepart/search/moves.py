"""What a study tries next: first exits alone, then small changes to the best choices so far, and what NSGA-II makes.

A change is one step of a threshold, another head, an exit more or fewer, an exit at the next place, or another cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepart.search.space import Space

if TYPE_CHECKING:
    import optuna

Chosen = dict[str, Any]
#: chance of one more change
_AGAIN = 0.3
CUTS = "cuts"


class Moves:
    """Changes to the choices of a space, by name of their variables."""

    def __init__(self, space: Space, random: np.random.Generator, fixed_placement: bool) -> None:
        """``fixed_placement``: a choice keeps it, since it has the best there is already."""
        self._space, self._random = space, random
        self._heads = [len(heads) for heads in space.bank.places]
        self._levels = len(space.bank.levels)
        changes: list[Callable[[Chosen], None]] = [self._threshold, self._threshold, self._head, self._drop]
        changes += [self._add, self._add, self._shift]
        self._changes = changes if fixed_placement else [*changes, self._cut, self._cut]

    def first(self, number: int) -> Chosen | None:
        """No exit at all, then every head alone, at the middle threshold."""
        alone = [(None, 0), *((place, head) for place, count in enumerate(self._heads) for head in range(1, count + 1))]
        if number >= len(alone):
            return None
        place, head = alone[number]
        found: Chosen = {f"exit {each}": head if each == place else 0 for each in range(len(self._heads))}
        names = [f"threshold {each}" for each in range(len(self._heads))] if self._space.separate else ["threshold"]
        return found | dict.fromkeys(names, self._levels // 2)

    def near(self, chosen: Mapping[str, Any]) -> Chosen:
        """The choice with a change or more."""
        found = dict(chosen)
        while True:
            self._pick(self._changes)(found)
            if self._random.random() >= _AGAIN:
                return found

    def _pick(self, among: Any) -> Any:
        return among[int(self._random.integers(len(among)))]

    def _used(self, chosen: Chosen) -> list[int]:
        return [place for place in range(len(self._heads)) if chosen[f"exit {place}"]]

    def _threshold(self, chosen: Chosen) -> None:
        used = self._used(chosen)
        if used:
            name = f"threshold {self._pick(used)}" if self._space.separate else "threshold"
            step = int(self._random.geometric(0.6)) * self._pick((-1, 1))
            chosen[name] = min(max(chosen[name] + step, 0), self._levels - 1)

    def _head(self, chosen: Chosen) -> None:
        several = [place for place in self._used(chosen) if self._heads[place] > 1]
        if several:
            place = self._pick(several)
            others = [head for head in range(1, self._heads[place] + 1) if head != chosen[f"exit {place}"]]
            chosen[f"exit {place}"] = self._pick(others)

    def _drop(self, chosen: Chosen) -> None:
        used = self._used(chosen)
        if used:
            chosen[f"exit {self._pick(used)}"] = 0

    def _add(self, chosen: Chosen) -> None:
        free = sorted({*range(len(self._heads))} - {*self._used(chosen)})
        if free:
            place = self._pick(free)
            chosen[f"exit {place}"] = int(self._random.integers(1, self._heads[place] + 1))
            if self._space.separate:
                chosen[f"threshold {place}"] = int(self._random.integers(self._levels))

    def _shift(self, chosen: Chosen) -> None:
        used = self._used(chosen)
        if not used:
            return
        place = self._pick(used)
        next_to = [each for each in (place - 1, place + 1) if 0 <= each < len(self._heads) and each not in used]
        if next_to:
            target = self._pick(next_to)
            chosen[f"exit {target}"] = min(chosen[f"exit {place}"], self._heads[target])
            chosen[f"exit {place}"] = 0
            if self._space.separate:
                chosen[f"threshold {target}"] = chosen[f"threshold {place}"]

    def _cut(self, chosen: Chosen) -> None:
        layers, hops = len(self._space.problem.graph.layers), range(len(self._space.problem.links))
        if not hops:
            return
        hop = self._pick(hops)
        step = int(self._random.geometric(min(1.0, 4 / layers))) * self._pick((-1, 1))
        chosen["placement"] = CUTS
        chosen[f"cut {hop}"] = min(max(chosen[f"cut {hop}"] + step, 0), layers)


def sampler(
    variables: Mapping[str, optuna.distributions.BaseDistribution],
    propose: Callable[[], Mapping[str, Any] | None],
    population: int,
    seed: int,
) -> optuna.samplers.BaseSampler:
    """NSGA-II, whose individuals are replaced with what ``propose`` gives, if it gives any (None: keep NSGA-II's).

    The variables are the same in every trial; Optuna would compare them over all trials each time.
    """
    from optuna.samplers import NSGAIISampler

    class Proposed(NSGAIISampler):
        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return {name: variable for name, variable in variables.items() if not variable.single()}

        def sample_relative(
            self,
            study: optuna.Study,
            trial: optuna.trial.FrozenTrial,
            search_space: dict[str, optuna.distributions.BaseDistribution],
        ) -> dict[str, Any]:
            # in any case, since it also notes which generation the trial belongs to
            crossed = super().sample_relative(study, trial, search_space)
            found = propose()
            return crossed if found is None else {name: found[name] for name in search_space if name in found}

    return Proposed(population_size=population, seed=seed)
