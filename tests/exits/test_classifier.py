"""The network's own classifier as source: exact at its own place, fitted elsewhere, refused where it cannot be."""

import pytest
import torch
import transformers
from torch import nn

from edgepart.errors import TemplateError
from edgepart.exits.render import render
from edgepart.exits.template import load_template
from edgepart.frameworks.torch.capture import capture
from edgepart.frameworks.torch.classifier import describe_classifier
from edgepart.frameworks.torch.heads import check_head, compile_head


def convolution(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


class Functional(nn.Module):
    """Pools and flattens by functions, as ResNets written by hand do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = convolution(3, 6), convolution(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.fc = nn.Linear(8, 5, bias=False)

    def forward(self, x):
        x = self.second(nn.functional.max_pool2d(self.first(x), 2))
        x = nn.functional.avg_pool2d(x, x.shape[3])
        return self.fc(self.norm(x.view(x.size(0), -1)))


def adaptive():
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(8, 7), nn.Hardswish(), nn.Linear(7, 5)]
    return nn.Sequential(convolution(3, 6), nn.MaxPool2d(2), convolution(6, 8), *tail)


def flattening():
    """VGG's way: the classifier reads every place of the last map."""
    tail = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 9), nn.ReLU(inplace=True), nn.Linear(9, 5)]
    return nn.Sequential(convolution(3, 6), nn.MaxPool2d(2), convolution(6, 8), *tail)


def convolutional():
    """SqueezeNet's way: a convolution gives one map a class."""
    tail = [nn.Dropout(0.5), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(convolution(3, 6), nn.MaxPool2d(2), convolution(6, 8), *tail)


IMAGES = {"functional": Functional, "adaptive": adaptive, "flattening": flattening, "convolutional": convolutional}


def bert():
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=20, num_labels=3, return_dict=False, **sizes)
    return transformers.BertForSequenceClassification(config)


def head_for(program, shape, classes):
    lines = describe_classifier(program, shape)
    template = load_template("replicate_classifier", "torch")
    source = render(template, shape=shape, classes=classes, name="e", parameters={}, classifier=lines)
    return lines, compile_head(source, "e.py").eval()


def calibrated(network, example):
    """Batch normalisation whose statistics are not the trivial ones."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(example)
    return network.eval()


def exits(graph):
    """Tensors that are the only feature across a boundary."""
    crossing = ([graph.tensor(name) for name in boundary.tensors] for boundary in graph.boundaries())
    single = [[tensor for tensor in tensors if tensor.feature] for tensors in crossing]
    return [tensors[0] for tensors in single if len(tensors) == 1]


@pytest.mark.parametrize("name", IMAGES)
def test_at_the_classifiers_own_place_it_is_the_network(name):
    torch.manual_seed(0)
    image = torch.randn(4, 3, 16, 16)
    network = calibrated(IMAGES[name](), image)
    program = capture(network, image)
    tensor = [t for t in exits(program.graph) if t.shape[1:] == (8, 8, 8)][-1]
    _, head = head_for(program, tensor.shape[1:], 5)
    ours = [module for module in head.modules() if hasattr(module, "weight")]
    theirs = [module for module in network.modules() if hasattr(module, "weight")]
    for module, other in zip(ours, theirs[-len(ours) :], strict=True):
        module.load_state_dict(other.state_dict())
    boundary = next(b for b in program.graph.boundaries() if tensor.name in b.tensors)
    feature = program.slice(None, boundary, share=True).module(image)[0]
    assert torch.allclose(head(feature), network(image), atol=1e-6)


@pytest.mark.parametrize("name", IMAGES)
def test_at_every_exit_it_runs(name):
    image = torch.randn(4, 3, 16, 16)
    program = capture(IMAGES[name](), image)
    found = exits(program.graph)
    assert len(found) > 4
    for tensor in found:
        _, head = head_for(program, tensor.shape[1:], 5)
        check_head(head, tensor.shape[1:], 5)


def test_the_first_layers_take_the_tensors_width():
    program = capture(adaptive(), torch.randn(2, 3, 16, 16))
    assert describe_classifier(program, (6, 16, 16)) == [
        "nn.AdaptiveAvgPool2d((1, 1))",
        "nn.Flatten(1)",
        "nn.Dropout(0.3)",
        "nn.Linear(6, 7)",
        "nn.Hardswish()",
        "nn.Linear(7, 5)",
    ]
    assert describe_classifier(program, (11,))[0] == "nn.Dropout(0.3)"
    flat = capture(flattening(), torch.randn(2, 3, 16, 16))
    assert describe_classifier(flat, (6, 16, 16))[:3] == [
        "nn.AdaptiveMaxPool2d((4, 4))",
        "nn.Flatten(1)",
        f"nn.Linear({6 * 16}, 9)",
    ]


def test_bert_pools_its_first_token():
    ids = torch.randint(0, 20, (2, 7))
    network = bert().eval()
    program = capture(network, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    lines, head = head_for(program, ("sequence", 8), 3)
    assert lines == ["Token(0)", "nn.Linear(8, 8)", "nn.Tanh()", "nn.Dropout(0.1)", "nn.Linear(8, 3)"]
    check_head(head, (9, 8), 3)
    head.classifier[0].load_state_dict(network.bert.pooler.dense.state_dict())
    head.classifier[3].load_state_dict(network.classifier.state_dict())
    feature = network.bert(ids, attention_mask=torch.ones_like(ids))[0]
    assert torch.allclose(head(feature), network(ids, attention_mask=torch.ones_like(ids))[0], atol=1e-6)


def test_a_network_of_vectors_gives_its_last_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4), nn.LogSoftmax(1))
    program = capture(network, torch.randn(2, 3, 4))
    assert describe_classifier(program, (9,)) == ["nn.Linear(9, 4)"]


def test_a_classifier_of_other_tensors_is_refused():
    program = capture(adaptive(), torch.randn(2, 3, 16, 16))
    with pytest.raises(
        TemplateError, match=r"reads \(8, 8, 8\) a sample and cannot be fitted to a tensor \(sequence, 4\)"
    ):
        describe_classifier(program, ("sequence", 4))
    program = capture(convolutional(), torch.randn(2, 3, 16, 16))
    with pytest.raises(TemplateError, match="'linear'"):
        describe_classifier(program, (4,))


def test_an_operation_that_cannot_be_repeated_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 3)

        def forward(self, x):
            return self.layer(x).mean((2, 3)).cumsum(1)

    with pytest.raises(TemplateError, match=r"'cumsum' cannot be repeated.*'linear'"):
        describe_classifier(capture(Odd(), torch.randn(2, 3, 8, 8)), (3, 8, 8))
