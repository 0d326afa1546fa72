"""The five shipped templates keep the contract that every template is held to."""

from edgepart.exits.template import load_template, templates
from edgepart.testing.templates import TemplateContract


def test_these_are_shipped():
    assert set(templates("torch")) == {"linear", "mlp", "conv_pool", "bert_pooler", "replicate_classifier"}


class _Pooling(TemplateContract):
    def fits(self, rank, values):
        return not (rank == 3 and values.get("pool") == "first")


class TestLinear(_Pooling):
    template = "linear"


class TestMlp(_Pooling):
    template = "mlp"
    settings = ({"hidden": 3, "dropout": 0.0}, {"norm": "batch", "activation": "Tanh", "dropout": 0.5})


class TestConvPool(TemplateContract):
    template = "conv_pool"
    settings = ({"filters": 5, "convolutions": 3, "grid": 4}, {"grid": 0, "dropout": 0.2}, {"grid": 1})


class TestBertPooler(TemplateContract):
    template = "bert_pooler"
    settings = ({"hidden": 9, "dropout": 0.0},)


class TestReplicateClassifier(TemplateContract):
    template = "replicate_classifier"

    def test_it_asks_for_the_classifier(self):
        assert load_template("replicate_classifier", "torch").needs_classifier
        assert not load_template("linear", "torch").needs_classifier
