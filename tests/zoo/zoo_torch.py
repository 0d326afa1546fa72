"""The torch networks of the zoo: random weights, batch normalisation calibrated, small inputs.

Four layers of each transformer, with everything a layer of it has; every convolutional network at full depth.
"""

from functools import partial

import branching_networks as branching
import mobile_networks as mobile
import numpy as np
import residual_networks as residual
import torch
from equality import Subject, Way
from torch import nn

from edgepart.frameworks import framework

LENGTH = 12


def transformer(family):
    import transformers as t

    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    match family:
        case "bert":
            config = t.BertConfig(vocab_size=50, **sizes)
        case "distilbert":
            config = t.DistilBertConfig(vocab_size=50, dim=32, n_layers=4, n_heads=4, hidden_dim=64)
        case "mobilebert":
            config = t.MobileBertConfig(vocab_size=50, embedding_size=16, intra_bottleneck_size=16, **sizes)
        case "gpt2":
            config = t.GPT2Config(vocab_size=50, n_embd=32, n_layer=4, n_head=4, n_positions=64, pad_token_id=0)
        case "vit":
            return t.ViTForImageClassification(t.ViTConfig(image_size=32, patch_size=8, num_labels=5, **sizes))
    config.use_cache, config.num_labels = False, 5
    return t.AutoModelForSequenceClassification.from_config(config)


def images(name, size, batch, draw):
    brightness = draw.uniform(0.5, 2, (batch, 1, 1, 1))
    return {name: (brightness * draw.standard_normal((batch, 3, size, size))).astype(np.float32)}


def tokens(names, batch, draw):
    values = {
        "input_ids": draw.integers(1, 50, (batch, LENGTH)),
        "attention_mask": np.ones((batch, LENGTH), np.int64),
        "token_type_ids": draw.integers(0, 2, (batch, LENGTH)),
    }
    values["attention_mask"][1:, LENGTH // 2 :] = 0
    return {name: values[name] for name in names}


_MASKED = ("input_ids", "attention_mask")
_IMAGE = partial(images, "x", 32)

#: name → network, inputs by name for a batch size and a random generator
TORCH = {
    "bert": (partial(transformer, "bert"), partial(tokens, (*_MASKED, "token_type_ids"))),
    "distilbert": (partial(transformer, "distilbert"), partial(tokens, _MASKED)),
    "mobilebert": (partial(transformer, "mobilebert"), partial(tokens, (*_MASKED, "token_type_ids"))),
    "gpt2": (partial(transformer, "gpt2"), partial(tokens, _MASKED)),
    "vit": (partial(transformer, "vit"), partial(images, "pixel_values", 32)),
    "resnet18": (residual.resnet18, _IMAGE),
    "resnet50": (residual.resnet50, _IMAGE),
    "convnext": (residual.ConvNext, _IMAGE),
    "mobilenet_v2": (mobile.MobileNetV2, _IMAGE),
    # pooling a map of one pixel would change nothing
    "mobilenet_v3": (mobile.MobileNetV3, partial(images, "x", 48)),
    "efficientnet_b0": (mobile.EfficientNetB0, partial(images, "x", 48)),
    "squeezenet": (mobile.SqueezeNet, _IMAGE),
    "shufflenet_v2": (mobile.ShuffleNetV2, _IMAGE),
    "inception_v3": (branching.InceptionV3, partial(images, "x", 75)),
    "densenet121": (branching.DenseNet121, _IMAGE),
    "unet": (branching.UNet, _IMAGE),
}
TRANSFORMERS = ("bert", "distilbert", "mobilebert", "gpt2", "vit")


def build(name):
    """The network in eval mode, the same at every call."""
    make, inputs = TORCH[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and name not in TRANSFORMERS:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if name in TRANSFORMERS:  # their initial weights are too small to make a difference
            for parameter in model.parameters():
                parameter.data.mul_(6 if parameter.dim() > 1 else 1)
        _calibrate(model, inputs)
    return model.eval()


def _calibrate(model, inputs):
    """Batch normalisation takes the mean and variance of three random batches, and a scale and shift of its own."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    draw = np.random.default_rng(1)
    with torch.no_grad():
        for _ in range(3 if norms else 0):
            model.train()(*(torch.from_numpy(array) for array in inputs(16, draw).values()))


def inputs(name, batch, seed=0):
    return TORCH[name][1](batch, np.random.default_rng(seed))


def program(name):
    model = build(name)
    example = {key: torch.from_numpy(array) for key, array in inputs(name, 3).items()}
    return framework("torch").program(model, example), model


def answers(model, arrays):
    with torch.no_grad():
        result = model(**{name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return [x.numpy() for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]


def held(part):
    """Names and bytes of the tensors in a part's module; fails where no operation of it reads one."""
    tensors = {**dict(part.module.named_parameters()), **dict(part.module.named_buffers())}
    read = {node.target for node in part.module.graph.nodes}
    assert read >= tensors.keys(), f"no operation reads {sorted(tensors.keys() - read)}"
    return {name.removeprefix("own_"): tensor.nbytes for name, tensor in tensors.items()}


def subject(name):
    captured, model = program(name)
    return Subject(
        name=f"torch/{name}",
        program=captured,
        inputs=partial(inputs, name),
        held=held,
        everywhere=Way(partial(answers, model)),
    )
