"""A learner without a framework: one softmax regression per exit on the inputs, the last one not trained."""

import numpy as np


class NumpyLearner:
    """Satisfies ``Learner``; momentum is its optimiser's state, and noise drawn from the step's seed its dropout."""

    def __init__(self, features=4, classes=3, exits=("early", "late", "final")):
        self.exits = exits
        generator = np.random.default_rng(7)
        self._weights = generator.normal(size=(len(exits), features, classes)).astype(np.float32) * 0.1
        self._momentum = np.zeros_like(self._weights)
        self.seen = []

    def step(self, arrays, labels, weights, learning_rate, seed):
        self.seen.append((tuple(arrays["x"][:, 0].tolist()), learning_rate, seed))
        noise = np.random.default_rng(seed).normal(size=arrays["x"].shape).astype(np.float32)
        x = arrays["x"] + 0.01 * noise
        probabilities = _softmax(np.einsum("bf,kfc->bkc", x, self._weights))
        chosen = probabilities[np.arange(len(labels)), :, labels]
        losses = (-np.log(chosen).mean(0)).tolist()
        if np.isfinite(losses).all():
            error = probabilities - np.eye(probabilities.shape[-1])[labels][:, None]
            gradient = np.einsum("bf,bkc->kfc", x, error) / len(labels) * np.array(weights)[:, None, None]
            self._momentum = (0.9 * self._momentum + gradient).astype(np.float32)
            self._weights = (self._weights - learning_rate * self._momentum).astype(np.float32)
        return losses

    def logits(self, arrays):
        return np.einsum("bf,kfc->bkc", arrays["x"], self._weights).astype(np.float32)

    def weights(self):
        return {"weights": self._weights.copy()}

    def load_weights(self, weights):
        self._weights = weights["weights"].copy()

    def state(self):
        return self.weights() | {"momentum": self._momentum.copy()}

    def load_state(self, state):
        self.load_weights(state)
        self._momentum = state["momentum"].copy()


class Points:
    """Samples of three classes around three directions."""

    def __init__(self, count, seed, noise=0.7):
        generator = np.random.default_rng(seed)
        self.labels = np.arange(count, dtype=np.int64) % 3
        centres = np.eye(3, 4, dtype=np.float32)
        self.x = (centres[self.labels] + noise * generator.normal(size=(count, 4))).astype(np.float32)
        self.lengths = np.zeros(count, dtype=np.int64)

    def batch(self, indices):
        return {"x": self.x[indices]}


class StopAfter:
    """Asks to stop when it is asked for the n-th time (from 1), and never again."""

    def __init__(self, number):
        self.number = number
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.asked == self.number


def _softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
