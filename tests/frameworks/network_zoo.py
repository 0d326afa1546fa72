"""Small networks with random weights, one for each way in which networks branch, and their inputs.

Their batch normalisation has random statistics: with fresh ones the outputs are near zero and every comparison passes.
"""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from edgepart.frameworks.torch.capture import capture


def conv(inputs, outputs, kernel=3, stride=1, groups=1, inplace=True):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=inplace),
    )


class ResidualBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        return self.relu(y)


class Residual(nn.Module):
    """In-place ReLU and addition, a module called twice, dropout, sizes computed from the batch."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8)
        self.blocks = nn.Sequential(ResidualBlock(8), ResidualBlock(8))
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(8, 10)

    def forward(self, x):
        x = self.blocks(self.stem(x)).mean((2, 3))
        x = x.view(x.shape[0] * 2, -1).view(x.shape[0], -1)
        return self.head(self.dropout(x))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        wide = inputs * expand
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            conv(inputs, wide, 1),
            conv(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class Separable(nn.Module):
    """MobileNetV2-like."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 8, stride=2), Inverted(8, 8, 1, 2), Inverted(8, 12, 2, 3))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 7)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


class Dense(nn.Module):
    """DenseNet-like: every layer reads all earlier ones."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 6)
        self.layers = nn.ModuleList(conv(6 + 4 * i, 4) for i in range(3))
        self.head = nn.Linear(18, 5)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(F.adaptive_avg_pool2d(torch.cat(features, 1), 1).flatten(1))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8)
        self.one, self.three, self.five = conv(8, 4, 1), nn.Sequential(conv(8, 4, 1), conv(4, 6)), conv(8, 3, 5)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.head = nn.Linear(21, 6)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)
        return self.head(x.amax((2, 3)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv(3, 6), conv(6, 8, stride=2), conv(8, 10, stride=2)
        self.up2, self.up1 = conv(18, 8), conv(14, 6)
        self.out = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(first)
        x = F.interpolate(self.middle(second), scale_factor=2.0)
        x = self.up2(torch.cat([x, second], 1))
        x = F.interpolate(x, size=first.shape[2:], mode="bilinear")
        return self.out(self.up1(torch.cat([x, first], 1)))


class TiedMlp(nn.Module):
    """An embedding that is also the last layer's weight, and one layer called three times."""

    def __init__(self):
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(20, 8), nn.Linear(8, 8)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for _ in range(3):
            x = torch.tanh(self.hidden(x))
        return self.out(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, tokens):
        states, (hidden, _) = self.lstm(self.embedding(tokens))
        return self.head(states[:, -1] + hidden.transpose(0, 1).flatten(1))


class Several(nn.Module):
    """Two inputs, three outputs; one output is an input, one is given twice."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.joint = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, image, features, scale):
        joint = self.joint(torch.relu(self.left(image)) + self.right(features))
        return {"joint": joint, "again": joint, "scaled": joint * scale, "scale": scale}


class Chunks(nn.Module):
    """Operations with several results, some of them unused, and attention with a causal mask."""

    def __init__(self):
        super().__init__()
        self.project, self.out = nn.Linear(8, 24), nn.Linear(4, 5)

    def forward(self, x):
        query, key, value = self.project(x).chunk(3, -1)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        x = F.scaled_dot_product_attention(query, key, value, mask)
        first, _, third = torch.split(x, [4, 2, 2], -1)
        values, places = first.max(1)
        return self.out(values), places, third.sum((1, 2))


class Functional(nn.Module):
    """No modules at all."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(3, 6))
        self.register_buffer("scale", torch.rand(8) + 0.5)

    def forward(self, x):
        x = F.linear(x * self.scale, self.w1)
        return F.linear(F.gelu(x), self.w2).log_softmax(-1)


class Views(nn.Module):
    """Writes into views of one memory: only torch can make this functional."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.norm(self.first(x))
        y[:, :4] += 1
        y[:, 0] = 2.0
        half = y.view(y.shape[0], 2, 4)
        half.relu_()
        return self.last(y)


class Frozen(nn.Module):
    """A backbone under no_grad, inputs changed in place, a constant tensor, numbers in between."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True)), nn.Linear(8, 3)

    def forward(self, x):
        x.mul_(2)
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x + torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]))


class Attention(nn.Module):
    """torch's own transformer layers."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.embedding = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pool = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.encoder(self.embedding(tokens), src_key_padding_mask=tokens == 0)
        x, _ = self.pool(x[:, :1], x, x)
        return self.head(x.squeeze(1))


class BrainFloat(nn.Module):
    """bfloat16 in the middle, float64 and float16 at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.bfloat16)

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)).bfloat16())
        y = torch.tanh(x)
        return y.double() * 2, (x > 0).sum(1), y.half(), y


def _transformer(family):
    import transformers as t

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    match family:
        case "bert":
            config = t.BertConfig(vocab_size=40, **sizes)
        case "distilbert":
            config = t.DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=24)
        case "gpt2":
            config = t.GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=64, pad_token_id=0)
        case "vit":
            config = t.ViTConfig(image_size=16, patch_size=8, **sizes)
            return t.ViTForImageClassification(config)
    config.use_cache = False
    return t.AutoModelForSequenceClassification.from_config(config)


def _image(batch, generator, size=16):
    brightness = 1 + 2 * torch.rand(batch, 1, 1, 1, generator=generator)
    return {"x": brightness * torch.randn(batch, 3, size, size, generator=generator)}


def _row(batch, generator):
    return {"x": torch.randn(batch, 8, generator=generator)}


def _tokens(*names):
    def make(batch, generator, length=9):
        values = {"input_ids": torch.randint(1, 20, (batch, length), generator=generator)}
        values["tokens"] = values["input_ids"]
        values["attention_mask"] = torch.ones(batch, length, dtype=torch.int64)
        values["attention_mask"][1:, length // 2 :] = 0
        values["token_type_ids"] = torch.randint(0, 2, (batch, length), generator=generator)
        return {name: values[name] for name in names}

    return make


def _several(batch, generator):
    shapes = {"image": (batch, 5, 4), "features": (batch, 1, 3), "scale": (batch, 1, 1)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


_BERT = _tokens("input_ids", "attention_mask", "token_type_ids")

#: name → network, inputs by name for a batch size (and, for tokens, a length)
NETWORKS = {
    "residual": (Residual, _image),
    "separable": (Separable, _image),
    "dense": (Dense, _image),
    "inception": (Inception, _image),
    "unet": (UNet, _image),
    "tied": (TiedMlp, _tokens("tokens")),
    "recurrent": (Recurrent, _tokens("tokens")),
    "several": (Several, _several),
    "chunks": (Chunks, lambda batch, generator: {"x": torch.randn(batch, 6, 8, generator=generator)}),
    "functional": (Functional, _row),
    "views": (Views, _row),
    "frozen": (Frozen, _row),
    "attention": (Attention, _tokens("tokens")),
    "brain_float": (BrainFloat, _row),
    "bert": (lambda: _transformer("bert"), _BERT),
    "distilbert": (lambda: _transformer("distilbert"), _tokens("input_ids", "attention_mask")),
    "gpt2": (lambda: _transformer("gpt2"), _tokens("input_ids", "attention_mask")),
    "vit": (
        lambda: _transformer("vit"),
        lambda batch, generator: {"pixel_values": _image(batch, generator)["x"]},
    ),
}

#: networks that take any length of sequence; torch.export fixes that of an LSTM
TOKENS = ("tied", "attention", "bert", "distilbert", "gpt2")


@cache
def network(name):
    """The network in eval mode, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = NETWORKS[name][0]().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
        if name in ("bert", "distilbert", "gpt2", "vit"):  # their initial weights are too small to make a difference
            for parameter in model.parameters():
                parameter.data.mul_(6 if parameter.dim() > 1 else 1)
    return model


@cache
def program(name):
    return capture(network(name), inputs(name, 3))


def inputs(name, batch, seed=0, **size):
    """Tensors by name."""
    return NETWORKS[name][1](batch, torch.Generator().manual_seed(seed), **size)


def answers(model, given):
    """The tensors that a network returns, in order, as arrays (bfloat16 as float32)."""
    with torch.no_grad():
        result = model(**{name: tensor.clone() for name, tensor in given.items()})
    leaves = [x for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]
    return [as_array(x) for x in leaves]


def as_array(tensor):
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def as_values(array, dtype):
    """An array from a part as :func:`as_array` gives it."""
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else array


def run_parts(parts, given):
    """Every array that the parts in turn read or made, by name."""
    known = {name: tensor.clone().numpy() for name, tensor in given.items()}
    for part in parts:
        known |= part.run({name: known[name] for name in part.inputs})
    return known


def final(graph, known):
    return [as_values(known[name], graph.tensor(name).dtype) for name in graph.outputs]
