"""The Keras templates: as many as for torch, and with the same weights they compute the same."""

from itertools import product

import numpy as np
import pytest
import torch

from edgepart.errors import TemplateError
from edgepart.exits.render import render
from edgepart.exits.template import load_template, templates
from edgepart.frameworks.keras import KerasFramework, require_keras
from edgepart.frameworks.torch.heads import compile_head as compile_torch

require_keras()

from edgepart.frameworks.keras.heads import compile_head  # noqa: E402 (after the backend is chosen)

#: channels last, no batch
SHAPES = {1: [(5,)], 2: [("sequence", 16)], 3: [(12, 12, 8), (1, 1, 3), (9, 5, 4), (16, 16, 2), (9, 1, 3), (4, 24, 2)]}
SETTINGS = {
    "linear": [{"pool": "average"}, {"pool": "max"}, {"pool": "first"}],
    "mlp": [
        {"hidden": 3, "dropout": 0.0},
        {"norm": "batch", "activation": "Tanh"},
        {"norm": "layer", "activation": "GELU"},
        {"pool": "max", "activation": "SiLU"},
        {"pool": "first"},
    ],
    "conv_pool": [{"filters": 5, "convolutions": 3, "grid": 4}, {"grid": 0, "dropout": 0.2}, {"grid": 1}],
    "bert_pooler": [{"hidden": 9, "dropout": 0.0}],
    "replicate_classifier": [],
}
CLASSIFIER = {
    "keras": {1: [], 2: ["Token(0)"], 3: ["keras.layers.GlobalAveragePooling2D()"]},
    "torch": {1: [], 2: ["Token(0)"], 3: ["Mean((2, 3))"]},
}


def source(name, framework, shape, values):
    template = load_template(name, framework)
    layout, width = "channels_last", shape[-1]
    if framework == "torch":
        layout, shape = "channels_first", (shape[-1], *shape[:-1]) if len(shape) == 3 else shape
    tail = {
        "keras": ["keras.layers.Dropout(0.1)", "keras.layers.Dense(7)"],
        "torch": ["nn.Dropout(0.1)", f"nn.Linear({width}, 7)"],
    }
    lines = [*CLASSIFIER[framework][len(shape)], *tail[framework]]
    return render(template, shape=shape, classes=7, name="exit 1", parameters=values, classifier=lines, layout=layout)


def cases(name):
    ranks = load_template(name, "keras").header.input_ranks
    for rank, values in product(ranks, [{}, *SETTINGS[name]]):
        if not (rank == 3 and values.get("pool") == "first"):
            # how large a map is matters to the template that pools it to a grid
            shapes = SHAPES[rank] if name == "conv_pool" else SHAPES[rank][:1]
            yield from ((shape, values) for shape in shapes)


def copy_weights(torch_head, head):
    """To the Keras head, layer by layer in the order of their making."""
    modules = [m for m in torch_head.modules() if isinstance(getattr(m, "weight", None), torch.Tensor)]
    found = [layer for layer in head._flatten_layers(include_self=False) if layer.weights]
    for module, layer in zip(modules, found, strict=True):
        weight = module.weight.detach().numpy()
        arrays = [weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight]
        arrays += [] if module.bias is None else [module.bias.detach().numpy()]
        if hasattr(module, "running_mean"):
            arrays += [module.running_mean.numpy(), module.running_var.numpy()]
        layer.set_weights(arrays)


def test_there_are_as_many_as_for_torch():
    assert templates("keras").keys() == templates("torch").keys()
    for name in templates("keras"):
        keras_header, torch_header = (load_template(name, framework).header for framework in ("keras", "torch"))
        assert keras_header.input_ranks == torch_header.input_ranks
        assert keras_header.parameters.keys() == torch_header.parameters.keys()
        for parameter, declared in keras_header.parameters.items():
            other = torch_header.parameters[parameter]
            assert declared.model_dump(exclude={"help"}) == other.model_dump(exclude={"help"})


@pytest.mark.parametrize("name", SETTINGS)
def test_heads_keep_their_contract_and_compute_what_those_for_torch_do(name):
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    for shape, values in cases(name):
        label = f"{name} {values} on {shape}"
        written, sizes = source(name, "keras", shape, values), [11 if n == "sequence" else n for n in shape]
        assert "edgepart" not in written.replace("Rendered by edgepart", "")
        size = KerasFramework().try_head(written, sizes, 7, label)
        x = generator.normal(size=(3, *sizes)).astype(np.float32)
        head, other = compile_head(written, label), compile_torch(source(name, "torch", shape, values), label).eval()
        for module in other.modules():
            if hasattr(module, "running_mean"):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        head(x)
        copy_weights(other, head)
        given = torch.from_numpy(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x)
        with torch.no_grad():
            expected = other(given).numpy()
        assert np.allclose(head(x).numpy(), expected, atol=1e-5), label
        assert size.parameters == sum(parameter.numel() for parameter in other.parameters()), label


@pytest.mark.parametrize("name", SETTINGS)
def test_other_ranks_are_refused(name):
    for rank in {1, 2, 3} - set(load_template(name, "keras").header.input_ranks):
        with pytest.raises(TemplateError, match="choose another template"):
            source(name, "keras", SHAPES[rank][0], {})


def test_an_image_has_no_first_token():
    for name in ("linear", "mlp"):
        with pytest.raises(TemplateError, match="needs a tensor of tokens"):
            source(name, "keras", (4, 4, 3), {"pool": "first"})
