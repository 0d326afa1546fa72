"""What scores choices by the thousand says the same as replaying and valuing them one by one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from banks import best_values, chain_problem, every_choice, random_bank, random_problem

from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.values import value
from edgepart.search import listing, search
from edgepart.search.archive import Archive
from edgepart.search.choices import Choices
from edgepart.search.dominance import nondominated
from edgepart.search.moves import Moves
from edgepart.search.pool import make_pool
from edgepart.search.space import make_space
from edgepart.search.study import Study
from edgepart.search.sweep import sweep
from edgepart.search.tables import Tables, can_tabulate

SEVERAL = ("accuracy", "latency", "mobile.energy", "mobile.memory")


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_sweep_is_every_replay_but_those_that_lower_thresholds_match(seed, separate):
    bank = random_bank(chain_problem(6, 2, seed), seed, places=3, levels=4)
    heads = [here[-1] for here in bank.places][: seed % 4]
    every = range(len(bank.levels))
    choices = list(itertools.product(every, repeat=len(heads)))
    if not separate:
        choices = [levels for levels in choices if len(set(levels)) <= 1]
    replayed = {levels: bank.replay(heads, [bank.levels[level] for level in levels]) for levels in choices}
    found = sweep(bank, heads, separate)
    needed = {
        levels
        for levels in choices
        if not any(
            other != levels
            and all(low <= high for low, high in zip(other, levels, strict=True))
            and replayed[other][0] >= replayed[levels][0]
            for other in choices
        )
    }
    assert {tuple(levels) for levels in found.levels.tolist()} == needed
    for levels, leaving, going_on, accuracy in zip(
        found.levels.tolist(), found.leaving, found.going_on, found.accuracy, strict=True
    ):
        expected, shares = replayed[tuple(levels)]
        assert accuracy == pytest.approx(expected)
        assert leaving.sum() == pytest.approx(1)
        assert going_on == pytest.approx([share.going_on for share in shares])
    (lowest,) = sweep(bank, heads, separate, accuracy_counts=False).levels.tolist()
    assert lowest == [0] * len(heads)


@pytest.mark.parametrize("seed", range(6))
def test_tables_hold_what_every_placement_is_worth(seed):
    problem = replace(random_problem(seed), limits={"latency": 60.0, "mobile.memory": 80.0})
    objectives = ("accuracy", "latency", "energy", "mobile.memory", "full-latency", "mobile:edge.bytes")
    space = make_space(problem, random_bank(problem, seed, places=3), objectives, separate=True, most_exits=1)
    assert can_tabulate(space)
    tables = Tables(space, space.placements(10**4))
    for heads in space.head_choices():
        rows, found = tables.allowed(heads), space.sweep(heads)
        scored = tables.minimised(heads, found, rows)
        for number, levels in enumerate(found.levels.tolist()):
            exits = space.exits(heads, tuple(levels))
            whole = replace(space.bounded, exits=exits.shares)
            for row, tier_of in enumerate(tables.placements):
                legal = not broken(whole, tier_of) and not exceeded(whole, tier_of)
                told = scored[number, rows.tolist().index(row)] if row in rows else np.array([np.inf])
                assert np.isfinite(told).all() == legal
                if legal:
                    values = [value(whole, tier_of, name) for name in objectives[1:]]
                    assert told == pytest.approx([-exits.accuracy, *values])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("objectives", [("accuracy", "latency"), SEVERAL])
def test_choices_that_are_worked_out_one_by_one_give_the_same_front(seed, objectives, monkeypatch):
    problem = random_problem(seed, most_layers=4)
    bank = random_bank(problem, seed)
    scored = search(problem, bank, objectives, separate=True)
    monkeypatch.setattr(listing, "can_tabulate", lambda space: False)
    single = search(problem, bank, objectives, separate=True, most_listed=10**6)
    assert scored.proven
    assert single.proven
    assert [p.values for p in scored.points] == [pytest.approx(p.values, rel=1e-6) for p in single.points]
    expected = best_values(every_choice(problem, bank, objectives, True, 3), objectives)
    assert len(expected) == len(single.points)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_rows_that_none_beats(columns):
    random = np.random.default_rng(columns)
    for size in (0, 1, 7, 60, 900):
        for costs in (random.integers(0, 6, (size, columns)).astype(float), random.random((size, columns))):
            before = np.arange(size)
            expected = [
                index
                for index in range(size)
                if not ((costs <= costs[index]).all(1) & ((costs < costs[index]).any(1) | (before < index))).any()
            ]
            found = nondominated(costs)
            assert sorted(found) == expected
            assert [tuple(costs[index]) for index in found] == sorted(tuple(costs[index]) for index in expected)
            archive = Archive(columns, 1)
            for part in np.array_split(np.arange(size), 9):
                archive.add(costs[part], part[:, None])
                archive.best()
            archive.add(np.full((1, columns), np.inf), np.array([[-1]]))
            kept, names = archive.best()
            assert names[:, 0].tolist() == found
            assert np.array_equal(kept, costs[found])


@pytest.mark.parametrize("separate", [False, True])
def test_changes_stay_within_the_variables_and_are_changes(separate):
    problem = chain_problem(6, 3)
    space = make_space(problem, random_bank(problem, 0, places=3), SEVERAL, separate)
    variables = Choices(space, None).variables()
    moves = Moves(space, np.random.default_rng(0), fixed_placement=False)
    alone = list(itertools.takewhile(lambda first: first is not None, map(moves.first, itertools.count())))
    assert len(alone) == 1 + sum(len(here) for here in space.bank.places)
    chosen = dict.fromkeys(variables, 0) | {"placement": "cuts"} | alone[1]
    seen = set()
    for _ in range(500):
        chosen = moves.near(chosen)
        assert set(chosen) == set(variables)
        for name, variable in variables.items():
            assert variable._contains(variable.to_internal_repr(chosen[name]))
        seen.add(tuple(chosen.values()))
    assert len(seen) > 200


@pytest.mark.parametrize("separate", [False, True])
def test_few_trials_find_the_whole_front_of_a_small_problem(separate):
    problem = chain_problem(6, 3, seed=4)
    bank = random_bank(problem, 4, places=3)
    for objectives in (("accuracy", "latency"), SEVERAL):
        proven = search(problem, bank, objectives, separate=separate)
        found = search(problem, bank, objectives, separate=separate, most_listed=0, trials=80)
        assert [p.values for p in found.points] == [pytest.approx(p.values) for p in proven.points]


@pytest.mark.parametrize("objectives", [SEVERAL, ("accuracy", "latency"), ("accuracy", "latency", "period")])
def test_a_search_that_cannot_tabulate_all_placements_tells_true_values(objectives, monkeypatch):
    problem = replace(random_problem(3), limits={"mobile.exits": 1.0})
    bank = random_bank(problem, 3, places=3)
    proven = {p.values for p in search(problem, bank, objectives, separate=True, most_listed=10**6).points}
    space = make_space(problem, bank, objectives, separate=True)
    small = make_pool(space, most=12)
    if objectives == SEVERAL:
        assert not small.whole
        assert len(small.tables.placements) <= 12
        assert all(broken(space.without_exits, each) == [] for each in small.tables.placements)
    else:
        assert small is None
    monkeypatch.setattr("edgepart.search.study.make_pool", lambda space: small)
    study = Study(space, None)
    study.run(120)
    for point in study.points():
        whole = replace(space.bounded, exits=point.exits)
        assert not broken(whole, point.placement.tier_of)
        assert not exceeded(whole, point.placement.tier_of)
        assert not any(better(point.values, other, objectives) for other in proven)


def better(one, other, objectives):
    signs = np.array([-1 if name == "accuracy" else 1 for name in objectives])
    first, second = signs * one, signs * other
    return bool((first <= second + 1e-9).all() and (first < second - 1e-9).any())
