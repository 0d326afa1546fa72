"""Large spaces: what NSGA-II finds, and that it goes on where it was left."""

from pathlib import Path

import pytest
from banks import beats, chain_problem, random_bank

from edgepart.errors import FileError, InfeasiblePlan, SearchInterrupted
from edgepart.search import search
from edgepart.search import study as studies
from edgepart.search.space import make_space
from edgepart.search.study import Study

ONE_COST = ("accuracy", "latency")
SEVERAL = ("accuracy", "latency", "mobile.memory")


@pytest.mark.parametrize(("objectives", "share"), [(ONE_COST, 0.8), (SEVERAL, 0.4)])
def test_the_search_finds_points_of_the_true_front_and_none_beyond_it(objectives, share):
    problem = chain_problem(6, 3, seed=4)
    bank = random_bank(problem, 4, places=3)
    proven = search(problem, bank, objectives)
    found = search(problem, bank, objectives, most_listed=0, trials=300, seed=1)
    assert proven.proven
    assert not found.proven
    assert found.how == "found by 300 trials, not proven"
    for point in found.points:
        going_on = [1.0, *(share.going_on for share in point.exits)]
        assert going_on == sorted(set(going_on), reverse=True), "somebody leaves at every exit"
    true = [point.values for point in proven.points]
    for point in found.points:
        assert not any(beats(point.values, other, objectives) for other in true)
        assert point.values in true or any(beats(other, point.values, objectives) for other in true)
    hit = sum(any(other == pytest.approx(values) for other in (p.values for p in found.points)) for values in true)
    assert hit >= share * len(true)


def test_an_interrupted_search_goes_on_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    problem = chain_problem(6, 2, seed=2)
    space = make_space(problem, random_bank(problem, 2, places=3), SEVERAL)
    whole = Study(space, tmp_path / "whole.journal")
    assert whole.run(45) == (45, None)

    asked = 0
    score = Study._score

    def interrupted(self, chosen):
        nonlocal asked
        asked += 1
        if asked in (10, 39):
            raise KeyboardInterrupt
        return score(self, chosen)

    monkeypatch.setattr(Study, "_score", interrupted)
    journal = tmp_path / "parts.journal"
    done, stopped = Study(space, journal).run(45)
    assert done == 9
    assert "interrupted after 9 of 45 trials" in str(stopped)
    assert Study(space, journal).run(45)[0] < 45
    resumed = Study(space, journal)
    assert resumed.run(45) == (45, None)
    assert settings(resumed) == settings(whole)
    assert len(set(settings(whole))) > 30
    assert {p.values for p in resumed.points()} == {p.values for p in whole.points()}


def settings(study: Study) -> list[tuple]:
    return sorted(tuple(sorted(trial.params.items())) for trial in study._trials("COMPLETE", "PRUNED"))


def test_two_workers_share_a_study(tmp_path):
    problem = chain_problem(6, 2, seed=3)
    space = make_space(problem, random_bank(problem, 3, places=3), ONE_COST)
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    first, second = Study(space, url, seed=1), Study(space, url, seed=2)
    assert first.run(5) == (5, None)
    assert second.run(9) == (9, None)
    assert first.finished() == 9
    assert {p.values for p in first.points()} == {p.values for p in second.points()}


def test_another_space_is_another_study(tmp_path):
    problem = chain_problem(6, 2)
    bank = random_bank(problem, 0)
    names = {
        Study(make_space(problem, bank, *given), None).name
        for given in [(ONE_COST,), (SEVERAL,), (ONE_COST, True), (ONE_COST, False, 1)]
    }
    names |= {Study(make_space(problem, random_bank(problem, 1), ONE_COST), None).name}
    names |= {Study(make_space(chain_problem(6, 2, seed=1), bank, ONE_COST), None).name}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("storage", "why"),
    [
        ("sqlite:////no/such/folder/trials.db", "unable to open"),
        ("nonsense://", "nonsense"),
        ("/no/such/folder/trials.journal", "does not exist"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_one_sentence(storage, why):
    problem = chain_problem()
    with pytest.raises(FileError, match=why) as error:
        search(problem, random_bank(problem, 0), most_listed=0, storage=storage)
    assert "\n" not in str(error.value)


def test_a_password_is_not_told():
    problem = chain_problem()
    with pytest.raises(FileError, match="cannot reach") as error:
        search(problem, random_bank(problem, 0), most_listed=0, storage="postgresql://me:secret@127.0.0.1:1/trials")
    assert "secret" not in str(error.value)


def test_what_was_found_before_the_storage_was_lost_is_kept(tmp_path, monkeypatch):
    problem = chain_problem(6, 2, seed=3)
    bank = random_bank(problem, 3, places=3)
    folder = tmp_path / "away"
    folder.mkdir()
    score, scored = Study._score, []

    def lost(self, chosen):
        scored.append(score(self, chosen))
        if len(scored) == 30:
            folder.rename(tmp_path / "gone")
        return scored[-1]

    monkeypatch.setattr(studies.Study, "_score", lost)
    front = search(problem, bank, most_listed=0, trials=60, storage=folder / "trials.journal")
    assert isinstance(front.stopped, FileError)
    assert "after 29 of 60 trials: cannot reach the storage" in str(front.stopped)
    for point in scored[:29]:
        assert any(
            found.values == point.values or beats(found.values, point.values, ONE_COST) for found in front.points
        )
    assert (tmp_path / "gone" / Path("trials.journal")).exists()


def test_no_trial_within_the_limits_is_told():
    problem = chain_problem(limits={"latency": 1e-6})
    with pytest.raises(InfeasiblePlan, match="none of 5 trials"):
        search(problem, random_bank(problem, 0), most_listed=0, trials=5)


def test_ctrl_c_before_anything_was_found_is_no_infeasible_plan(monkeypatch):
    def interrupted(self, chosen):
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "_score", interrupted)
    problem = chain_problem()
    with pytest.raises(SearchInterrupted, match="interrupted after 0 of 5 trials"):
        search(problem, random_bank(problem, 0), most_listed=0, trials=5)
