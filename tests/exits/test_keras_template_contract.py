"""The shipped templates for Keras keep the contract of templates."""

import pytest

from edgepart.testing.templates import TemplateContract

pytestmark = pytest.mark.slow


class KerasContract(TemplateContract):
    framework = "keras"

    def classifier(self, shape, classes):
        pooling = {1: [], 2: ["Token(0)"], 3: ["keras.layers.GlobalAveragePooling2D()"]}[len(shape)]
        return [*pooling, "keras.layers.Dropout(0.1)", f"keras.layers.Dense({classes})"]

    def fits(self, rank, values):
        return not (rank == 3 and values.get("pool") == "first")


class TestLinear(KerasContract):
    template = "linear"


class TestMlp(KerasContract):
    template = "mlp"


class TestConvPool(KerasContract):
    template = "conv_pool"


class TestBertPooler(KerasContract):
    template = "bert_pooler"


class TestReplicateClassifier(KerasContract):
    template = "replicate_classifier"
