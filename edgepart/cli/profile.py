"""``edgepart profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepart.cli.output import json_option, note, print_json, print_table
from edgepart.errors import FileError
from edgepart.files import require_parent
from edgepart.graph import peak_activation_bytes
from edgepart.hardware import THIS, Profile
from edgepart.units import percent, seconds, significant, size

#: how many of the slowest layers are shown
_SLOWEST = 5
#: other processes' load, in cores, above which the person is told
_MUCH_LOAD = 0.5
#: what the pieces may take more than the whole before the person is told
_MUCH_MORE = 0.25


@click.command()
@click.argument("model")
@click.option("--device", default=THIS, show_default=True, help="The machine to measure: this one.")
@click.option("--runtime", metavar="NAME", help="What parts will run on, such as onnxruntime; the framework's own.")
@click.option("-o", "--output", default="profile.json", show_default=True, help="The file to write.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads for one operation.")
@click.option("--quick", is_flag=True, help="A first impression in seconds, with more spread.")
@json_option
def command(
    model: str, device: str, runtime: str | None, output: str, threads: int, quick: bool, as_json: bool
) -> None:
    """Measure MODEL on this machine, layer by layer and segment by segment.

    MODEL is file.py:function or package.module:function (returns the network and example inputs), a .onnx, .keras or
    .h5 file, or hf:FOLDER (a Hugging Face checkpoint folder of a text classifier). It runs in a process of its own, one
    sample at a time.
    """
    from edgepart.frameworks.model import load_model
    from edgepart.profiling import profile, require_this

    # what can be wrong is told before anything is loaded or measured
    require_parent(Path(output))
    if Path(output).is_dir():
        raise FileError(f"{output} is a folder: give a file for the profile")
    require_this(device)
    loaded = load_model(model)
    for remark in loaded.notes:
        note(remark)
    measured = profile(loaded.model, loaded.example, device=device, runtime=runtime, threads=threads, quick=quick)
    measured.save(output)
    if as_json:
        print_json(_summary(measured) | {"file": output})
        return
    print_table(("what", "value"), _rows(measured))
    click.echo()
    print_table(("slowest layers", "kind", "latency", "share", "MACs"), _slowest(measured))
    if measured.machine_load.mean_cores > _MUCH_LOAD:
        note(
            f"Other processes kept {significant(measured.machine_load.mean_cores, 2)} cores busy meanwhile: measure "
            "again on a quiet machine before you rely on this."
        )
    more = measured.segment_sum_s / measured.end_to_end.median_s - 1
    if more > _MUCH_MORE:
        note(
            f"The pieces take {percent(more)} more than the whole network: what every call costs, and what is lost "
            "where operations are no longer fused, adds up. Plans with long parts look slower than they are."
        )
    click.echo(f"\nwritten to {output}")


def _summary(profile: Profile) -> dict[str, Any]:
    graph = profile.graph
    return {
        "network": graph.name,
        "fingerprint": graph.fingerprint,
        "runtime": profile.runtime,
        "runtime_version": profile.runtime_version,
        "threads": profile.threads,
        "layers": len(graph.layers),
        "segments": len(profile.segments),
        "macs": sum(layer.macs for layer in graph.layers),
        "uncounted": sorted({operation for layer in graph.layers for operation in layer.uncounted}),
        "parameter_bytes": sum(graph.parameters.values()),
        "peak_activation_bytes": peak_activation_bytes(graph, graph.position),
        "end_to_end": profile.end_to_end.model_dump(),
        "segment_sum_s": profile.segment_sum_s,
        "segment_sum_difference": profile.segment_sum_s / profile.end_to_end.median_s - 1,
        "device": profile.device.model_dump(exclude_none=True),
        "machine_load": profile.machine_load.model_dump(),
    }


def _rows(profile: Profile) -> list[tuple[str, str]]:
    found = _summary(profile)
    whole = profile.end_to_end
    threads = f"{profile.threads} thread" + ("s" if profile.threads > 1 else "")
    load = profile.machine_load
    difference = found["segment_sum_difference"]
    rows = [
        ("network", f"{found['network']} ({found['fingerprint']})"),
        ("runtime", f"{profile.runtime} {profile.runtime_version}, {threads}, one sample at a time"),
        ("machine", str(profile.device.facts.get("processor", profile.device.title))),
        ("layers", f"{found['layers']} in {found['segments']} segments"),
        ("MACs", _count(found["macs"])),
        ("parameters", size(found["parameter_bytes"])),
        ("activations, most at once", size(found["peak_activation_bytes"])),
        ("end to end", f"{seconds(whole.median_s)} ± {seconds(whole.spread_s / 2)} ({whole.runs} runs)"),
        ("sum of segments", f"{seconds(profile.segment_sum_s)} ({'+' * (difference >= 0)}{percent(difference)})"),
        ("effective rate", f"{significant(profile.device.macs_per_s / 1e9)} GMAC/s over the reference networks"),
        ("load of other processes", f"{load.mean_cores:.1f} cores on average, {load.maximum_cores:.1f} at most"),
    ]
    if found["uncounted"]:
        rows.append(("MACs not counted of", ", ".join(found["uncounted"])))
    return rows


def _slowest(profile: Profile) -> list[tuple[str, ...]]:
    latency = profile.layer_latency_s()
    order = sorted(profile.graph.layers, key=lambda layer: latency[layer.name], reverse=True)
    total = sum(latency.values())
    return [
        (x.name, x.kind, seconds(latency[x.name]), percent(latency[x.name] / total), _count(x.macs))
        for x in order[:_SLOWEST]
    ]


def _count(macs: int) -> str:
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if macs >= factor:
            return f"{significant(macs / factor)} {unit}"
    return str(macs)
