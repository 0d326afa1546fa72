"""The training loop, with a learner in NumPy: the same result however often it is interrupted."""

import numpy as np
import pytest
from numpy_learner import NumpyLearner, Points, StopAfter

from edgepart.errors import TrainingError, TrainingInterrupted
from edgepart.training import loop
from edgepart.training.dynamics import true_label_probability
from edgepart.training.losses import exit_weights
from edgepart.training.settings import TrainingSettings

SETTINGS = TrainingSettings.for_mode("pabee", epochs=3, batch_size=8, learning_rate=0.1)
TRAINING, VALIDATION = Points(42, seed=1), Points(20, seed=2)
#: 42 samples in batches of 8, then 3 batches of validation, an epoch
CHECKS_IN_A_RUN = 3 * (6 + 3)


def run(folder, stop=lambda: False, learner=None, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    learner = learner or NumpyLearner()
    return loop.fit(learner, TRAINING, VALIDATION, settings, folder, stop), learner


def same(first, second):
    (a, learner_a), (b, learner_b) = first, second
    assert a.epochs == b.epochs
    assert a.best_epoch == b.best_epoch
    assert np.array_equal(a.logits, b.logits)
    assert np.array_equal(a.dynamics, b.dynamics)
    for name, array in learner_a.weights().items():
        assert np.array_equal(array, learner_b.weights()[name])


@pytest.mark.parametrize("number", range(1, CHECKS_IN_A_RUN + 1))
def test_a_run_interrupted_anywhere_ends_the_same(tmp_path, number):
    with pytest.raises(TrainingInterrupted, match="run the same command again"):
        run(tmp_path / "b", StopAfter(number))
    same(run(tmp_path / "a"), run(tmp_path / "b"))


def test_a_run_interrupted_after_every_step_ends_the_same(tmp_path):
    stopped = 0
    while True:
        try:
            result = run(tmp_path / "b", StopAfter(1))
            break
        except TrainingInterrupted:
            stopped += 1
            # An interrupted validation starts over, so let it pass.
            if stopped % 7 == 0:
                try:
                    result = run(tmp_path / "b", StopAfter(4))
                    break
                except TrainingInterrupted:
                    pass
    assert stopped >= 18
    same(run(tmp_path / "a"), result)


def test_a_crash_costs_only_what_came_after_the_last_save(tmp_path, monkeypatch):
    class Crash(Exception):
        pass

    class Crashing(NumpyLearner):
        def step(self, *arguments):
            if len(self.seen) == 9:
                raise Crash
            return super().step(*arguments)

    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    with pytest.raises(Crash):
        run(tmp_path / "b", learner=Crashing())
    resumed = run(tmp_path / "b")
    assert len(resumed[1].seen) == 18 - 9
    same(run(tmp_path / "a"), resumed)


def test_the_state_after_the_end_gives_the_result_without_training_again(tmp_path):
    first = run(tmp_path / "a")
    again = run(tmp_path / "a")
    assert again[1].seen == []
    same(first, again)


def test_steps_get_the_schedule_and_seeds_of_their_own(tmp_path):
    _, learner = run(tmp_path / "a")
    rates = [rate for _, rate, _ in learner.seen]
    assert len(rates) == 18
    assert max(rates) == rates[1] == SETTINGS.learning_rate
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert len({seed for _, _, seed in learner.seen}) == 18
    orders = [tuple(x for batch, _, _ in learner.seen[6 * e : 6 * e + 6] for x in batch) for e in range(3)]
    assert len(set(orders)) == 3
    assert all(sorted(order) == sorted(TRAINING.x[:, 0].tolist()) for order in orders)


def test_dynamics_are_the_probabilities_of_the_true_label_after_each_epoch(tmp_path):
    class Watched(NumpyLearner):
        after = []  # noqa: RUF012

        def weights(self):
            self.after.append(self._weights.copy())
            return super().weights()

    fitted, learner = run(tmp_path / "a", learner=Watched())
    assert fitted.dynamics.shape == (3, 20, 3)
    # weights() is asked for by every save; the last one before validation closes holds the epoch's weights
    known = [w for i, w in enumerate(learner.after) if i == 0 or not np.array_equal(w, learner.after[i - 1])]
    assert len(known) == 3
    for epoch, weights in enumerate(known):
        logits = np.einsum("bf,kfc->bkc", VALIDATION.x, weights).astype(np.float64)
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        expected = expected[np.arange(20), :, VALIDATION.labels]
        assert fitted.dynamics[epoch] == pytest.approx(expected, abs=1e-6)
        accuracy = (logits.argmax(-1) == VALIDATION.labels[:, None]).mean(0)
        assert fitted.epochs[epoch].accuracy == pytest.approx(accuracy)


def test_the_probability_of_the_true_label_survives_extreme_logits():
    logits = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], dtype=np.float32)
    assert true_label_probability(logits, np.array([0, 0])).tolist() == [[1.0], [0.0]]


def scripted(*epochs):
    """A learner whose validation accuracy per exit is given for every epoch: share of the samples it gets right."""

    class Scripted(NumpyLearner):
        def logits(self, arrays):
            epoch = (len(self.seen) - 1) // 6
            shape = (len(arrays["x"]), 3, 3)
            answers = np.zeros(shape, dtype=np.float32)
            rows = [int(np.flatnonzero(VALIDATION.x[:, 0] == value)[0]) for value in arrays["x"][:, 0]]
            for k, share in enumerate(epochs[epoch]):
                for place, row in enumerate(rows):
                    right = row < share * 20
                    answers[place, k, (VALIDATION.labels[row] + (0 if right else 1)) % 3] = 1 + epoch
            return answers

    return Scripted()


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ([(0.2, 0.3, 1.0), (0.7, 0.7, 0.9), (0.6, 0.7, 0.9)], 2),  # the mean over the exits decides
        ([(0.5, 0.5, 0.6), (0.9, 0.2, 0.6), (0.6, 0.6, 0.6)], 3),
        ([(0.5, 0.5, 1.0), (0.5, 0.5, 1.0), (0.5, 0.5, 0.9)], 2),  # among equals the surer one
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(tmp_path, accuracies, best):
    settings = TrainingSettings.for_mode("joint", epochs=3, batch_size=8)
    learner = scripted(*accuracies)
    fitted, _ = run(tmp_path / "a", learner=learner, settings=settings)
    assert fitted.best_epoch == best
    assert (fitted.logits.argmax(-1) == VALIDATION.labels[:, None]).mean(0) == pytest.approx(accuracies[best - 1])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"best-{best}.safetensors", "state.safetensors"]


def test_the_loss_on_record_is_the_weighted_sum_of_the_exits(tmp_path):
    fitted, _ = run(tmp_path / "a")
    weights = exit_weights("pabee", 3)
    for epoch in fitted.epochs:
        assert epoch.loss == pytest.approx(sum(w * x for w, x in zip(weights, epoch.exit_losses, strict=True)))
    assert fitted.epochs[-1].loss < fitted.epochs[0].loss


def test_a_loss_that_is_nan_names_epoch_step_exit_and_what_to_try(tmp_path):
    class Diverging(NumpyLearner):
        def step(self, *arguments):
            losses = super().step(*arguments)
            return [losses[0], float("nan"), losses[2]] if len(self.seen) == 8 else losses

    with pytest.raises(TrainingError, match=r"exit 'late' became nan in epoch 2, step 2: .* learning rate below 0.1"):
        run(tmp_path / "a", learner=Diverging())


def test_a_logit_that_is_infinite_names_exit_sample_and_epoch(tmp_path):
    class Overflowing(NumpyLearner):
        def logits(self, arrays):
            logits = super().logits(arrays)
            logits[arrays["x"][:, 0] == VALIDATION.x[13, 0], 1, 2] = np.inf
            return logits

    with pytest.raises(TrainingError, match="exit 'late' gives a NaN or infinite logit for validation sample 13 after"):
        run(tmp_path / "a", learner=Overflowing())


def test_no_validation_data_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="the validation data is empty"):
        loop.fit(NumpyLearner(), TRAINING, Points(0, 0), SETTINGS, tmp_path)
