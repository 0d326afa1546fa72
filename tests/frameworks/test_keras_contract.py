"""Keras keeps what every framework promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_zoo import inputs, network

from edgepart.frameworks import framework
from edgepart.testing.frameworks import FrameworkContract


class TestKeras(FrameworkContract):
    """A residual network with batch normalisation; TensorFlow may fuse operations differently in a part."""

    tolerance = 2e-6
    name = "residual"

    def framework(self):
        return framework("keras")

    def network(self):
        return network(self.name)

    def inputs(self, batch):
        return inputs(self.name, batch, seed=batch)

    def answers(self, network, inputs):
        given = [tf.constant(array) for array in inputs.values()]
        made = network(given if len(given) > 1 else given[0], training=False)
        return [np.array(tensor) for tensor in keras.tree.flatten(made)]


@pytest.mark.slow
class TestKerasTokens(TestKeras):
    """Token ids, a mask that crosses with what it masks, lengths that vary."""

    name = "masked"
