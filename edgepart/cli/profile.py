"""``edgepart profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepart.cli.kit import KIT_OPTIONS, kit_options, measure_over_ssh, read, require_one_kit, write
from edgepart.cli.measure import chosen_output, link_options, measure_link, refuse_others, serve_link
from edgepart.cli.output import json_option, note, print_json, print_table
from edgepart.errors import FileError
from edgepart.files import require_parent
from edgepart.graph import peak_activation_bytes
from edgepart.hardware import FROM_KIT, THIS, Profile
from edgepart.units import percent, seconds, significant, size

#: how many of the slowest layers are shown
_SLOWEST = 5
#: other processes' load, in cores, above which the person is told
_MUCH_LOAD = 0.5
#: what the pieces may take more than the whole before the person is told
_MUCH_MORE = 0.25


@click.command()
@click.argument("model", required=False)
@click.argument("more", nargs=-1, metavar="")
@click.option("--device", default=THIS, show_default=True, help="The machine to measure: this one.")
@click.option("--runtime", metavar="NAME", help="What parts will run on, such as onnxruntime; the framework's own.")
@click.option("-o", "--output", default="profile.json", show_default=True, help="The file to write.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads for one operation.")
@click.option("--quick", is_flag=True, help="A first impression in seconds, with more spread.")
@click.option("--calibrate", metavar="FILE", help="Fit a device file to MODELs, or to profiles measured there.")
@kit_options
@link_options
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    model: str | None,
    device: str,
    runtime: str | None,
    output: str,
    threads: int,
    quick: bool,
    calibrate: str | None,
    kit: str | None,
    from_kit: str | None,
    host: str | None,
    remote_python: str,
    link: str | None,
    listen: str | None,
    as_json: bool,
    more: tuple[str, ...],
) -> None:
    """Measure MODEL on this machine, layer by layer and segment by segment.

    MODEL is file.py:function or package.module:function (returns the network and example inputs), a .onnx, .keras or
    .h5 file, or hf:FOLDER (a Hugging Face checkpoint folder of a text classifier). It runs in a process of its own, one
    sample at a time.

    With --kit it writes a folder that measures MODEL on a machine without edgepart and PyTorch, with Python and ONNX
    Runtime (or ExecuTorch) only; --from-kit reads what that found, and --on does it all over SSH.

    With --calibrate it fits a device's rates (of computing, of moving bytes, what fusing saves) to one or more MODELs
    measured here, or to profile.json files measured on the device, and writes a file that 'edgepart partition --tier'
    takes, with how far off it was on networks that it did not know.

    With --link it measures a link instead: round trip, jitter and the rates both ways to a machine on which
    'edgepart profile --serve-link' runs, and writes a file that 'edgepart partition --link' takes.
    """
    if calibrate is not None:
        from edgepart.cli.calibrate import calibrate_device  # brings SciPy

        given = (*((model,) if model else ()), *more)

        def measure(text: str) -> Profile:
            from edgepart.profiling import profile

            return profile(text, runtime=runtime, threads=threads, quick=quick)

        calibrate_device(context, Path(calibrate), given, measure, as_json)
        return
    if more:
        raise click.UsageError(f"Got unexpected extra argument ({more[0]}): only --calibrate takes several.", context)
    if link is not None or listen is not None:
        _link(context, link, listen, output, quick, as_json)
        return
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.", context)
    from edgepart.frameworks.model import load_model
    from edgepart.profiling import profile, require_this

    # what can be wrong is told before anything is loaded or measured
    require_parent(Path(output))
    if Path(output).is_dir():
        raise FileError(f"{output} is a folder: give a file for the profile")
    require_this(device)
    require_one_kit(context, kit, from_kit, host)
    loaded = load_model(model)
    for remark in loaded.notes:
        note(remark)
    network = (loaded.model, loaded.example)
    if kit is not None:
        write(*network, kit, runtime, as_json)
        return
    if from_kit is not None:
        measured = read(*network, from_kit)
    elif host is not None:
        measured = measure_over_ssh(*network, host, runtime, remote_python, threads, quick)
    else:
        measured = profile(*network, device=device, runtime=runtime, threads=threads, quick=quick)
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
    if not measured.cuts and measured.segment_sum_s / measured.end_to_end.median_s - 1 > _MUCH_MORE:
        note(
            "No cuts were measured, and the pieces take much more than the whole network: what every call costs, and "
            "what is lost where operations are no longer fused, adds up. Plans with long parts look slower than they "
            "are."
        )
    if measured.memory_note:
        note(f"Memory was {measured.memory_note}.")
    click.echo(f"\nwritten to {output}")


def _link(
    context: click.Context, link: str | None, listen: str | None, output: str, quick: bool, as_json: bool
) -> None:
    """Measure a link instead of a network, or wait for another machine to do so."""
    needless = ("model", "device", "runtime", "threads", *KIT_OPTIONS)
    refuse_others(context, needless, "has no part in measuring a link: leave it out")
    if listen is not None:
        refuse_others(context, ("link", "output", "quick"), "belongs to the other end of --serve-link: leave it out")
        serve_link(listen, as_json)
    elif link is not None:
        measure_link(link, chosen_output(context, Path(output), "link.yaml"), quick, as_json)


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
        "cuts": len(profile.cuts),
        "middles": len(profile.middles),
        "cuts_interpolated": len(graph.layers) - 1 - len(profile.cuts) if profile.cuts else None,
        "part_overhead_s": profile.part_overhead_s,
        "wake_up_s": profile.wake_up_s if profile.wake_up else None,
        "runtime_bytes": profile.runtime_bytes,
        "memory": [
            one.model_dump() | {"activation_bytes": one.activation_bytes, "difference_bytes": one.difference_bytes}
            for one in profile.memory
        ],
        "memory_note": profile.memory_note,
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
        *_cut_rows(profile),
        *_wake_up_rows(profile),
        *_memory_rows(profile),
        ("effective rate", f"{significant(profile.device.macs_per_s / 1e9)} GMAC/s over {_rate_over(profile)}"),
        ("load of other processes", f"{load.mean_cores:.1f} cores on average, {load.maximum_cores:.1f} at most"),
    ]
    if found["uncounted"]:
        rows.append(("MACs not counted of", ", ".join(found["uncounted"])))
    return rows


def _rate_over(profile: Profile) -> str:
    return "this network" if profile.device.source == FROM_KIT else "the reference networks"


def _cut_rows(profile: Profile) -> list[tuple[str, str]]:
    places, measured = len(profile.layers) - 1, len(profile.cuts)
    if not measured:
        return [("cuts", "none measured: parts are sums of their layers")]
    rest = places - measured
    return [
        ("cuts", f"both sides of {measured} of {places} measured" + (f", {rest} interpolated" if rest else "")),
        *([("parts between two cuts", f"{len(profile.middles)} measured")] if profile.middles else []),
        ("each part on top of its layers", seconds(profile.part_overhead_s)),
    ]


def _wake_up_rows(profile: Profile) -> list[tuple[str, str]]:
    if profile.wake_up is None:
        return []
    return [("each part after waiting", f"{seconds(profile.wake_up_s)} more ± {seconds(profile.wake_up.spread_s / 2)}")]


def _memory_rows(profile: Profile) -> list[tuple[str, str]]:
    rows = []
    count = len(profile.layers)
    for one in profile.memory:
        name = "the whole" if (one.start, one.stop) == (0, count) else f"layers {one.start + 1} to {one.stop}"
        difference = f"{'-' if one.difference_bytes < 0 else '+'}{size(abs(one.difference_bytes))}"
        found = f"{size(one.activation_bytes)} measured, {size(one.predicted_activation_bytes)} predicted"
        rows.append((f"activations of {name}", f"{found} ({difference})"))
    if profile.runtime_bytes is not None:
        rows.append(("the runtime itself", f"{size(profile.runtime_bytes)} beyond parameters and activations"))
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
