"""A small torch network from the module to the profile file, through the real child process."""

import textwrap

import torch
from torch import nn

from edgepart.cli.main import main
from edgepart.frameworks import framework_of
from edgepart.frameworks.model import load_model
from edgepart.hardware import Profile

NETWORK = textwrap.dedent(
    """
    import torch
    from torch import nn


    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

        def forward(self, x):
            return torch.relu(x + self.second(torch.relu(self.first(x))))


    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 16)
            self.blocks = nn.Sequential(Block(16), Block(16))
            self.head = nn.Linear(16, 3)

        def forward(self, tokens, mask):
            x = self.blocks(self.embed(tokens)) * mask.unsqueeze(-1)
            return self.head(x.sum(1))


    def make():
        torch.manual_seed(0)
        return Network().eval(), (torch.randint(0, 50, (2, 7)), torch.ones(2, 7))
    """
)


def test_a_network_is_measured_whole_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    assert main(["profile", "network.py:make", "--quick", "-o", "out.json"]) == 0
    assert "written to out.json" in capsys.readouterr().out
    measured = Profile.load("out.json")

    loaded = load_model("network.py:make")
    model = loaded.model
    graph = framework_of(model).program(model, loaded.example).graph
    assert measured.graph == graph
    assert (measured.runtime, measured.runtime_version) == ("torch", torch.__version__)
    timings = [measured.end_to_end, *(x.latency for x in measured.layers), *(x.latency for x in measured.segments)]
    assert all(x.runs >= 10 and x.median_s > 0 for x in timings)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert sum(x.parameter_bytes for x in measured.segments) == sum(graph.parameters.values()) == weights
    # embedding, two residual blocks, and what follows: a block or less each
    assert len(measured.segments) >= 4
    *per_token, once = (m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    macs = 7 * sum(per_token) + once
    assert sum(x.macs for x in measured.layers) == sum(x.macs for x in measured.segments) == macs
    # one clock, one process: the pieces cannot be far from the whole, whatever the machine does
    assert 0.2 < measured.segment_sum_s / measured.end_to_end.median_s < 5
    # this machine runs the reference networks faster than a processor of the seventies and slower than any to come
    assert 1e7 < measured.device.macs_per_s < 1e14
