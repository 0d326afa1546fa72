"""Predicted against measured: parts of whole networks, each in a process of its own, alone and in a chain.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/predicted.py            what is not there yet, some minutes each
    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/predicted.py --quick torch/minilm

Every network is profiled as ``edgepart profile`` does, on one thread, for each of its runtimes, and cut by four plans:
in two where a quarter, half and three quarters of the time have passed, and in three. Each part is written for the
runtime and timed

- alone: opened in a fresh process and run over and over, twice with the parts of all plans in turn, and
- in a chain: one process a part, each pinned to a core of its own, tensors over loopback, one sample after another
  (``edgepart evaluate --measure``). Each part waits for the others, so the profile's ``wake_up_s`` is predicted on top.
  End to end so are the hops, measured between processes that hold no layers and are busy for as long as predicted.

A machine whose speed changes between the profile and these runs (heat, its neighbours) makes all errors alike. So the
whole network is timed beside its parts, and errors are told as they are and *beside the whole*: of what a part takes of
the whole, predicted and measured.

A part that the profile timed as it is was measured, any other is interpolated. Each case runs in a
process of its own and is written when it is done; those that are there are kept, unless they are named or were quick
ones. ``--busy`` measures those anew during which other processes kept more than half a core busy, the worst first: what
they show is the machine. Writes benchmarks/results/predicted.json, of which docs/generate_predicted.py makes the page.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "predicted.json"
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "numpy")
#: name of a plan → where it cuts, in shares of the predicted time
PLANS = {"1/4": (0.25,), "1/2": (0.5,), "3/4": (0.75,), "1/3, 2/3": (1 / 3, 2 / 3)}
#: cores that others kept busy from which on a case is one of --busy
BUSY = 0.5
ROUNDS, CHAIN_RUNS, QUICK_ROUNDS, QUICK_RUNS = 2, 60, 1, 15
#: onnx/exported graphs come without weights
EXPORTED = ("bert_mini_cls", "efficientnet_b0", "mobilenet_v3_large", "shufflenet_v2_x1_0")
LIGHT = ("resnet50", "squeezenet", "densenet121", "inception_v1")


def minilm() -> tuple[object, object]:
    import torch
    import transformers as t

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    net = t.BertForSequenceClassification(t.BertConfig(**sizes))
    ids = torch.randint(1, 30000, (2, 64))
    return net.eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def of_images(make: Callable[[Any], object], size: int = 224) -> tuple[object, object]:
    """A network of transformers from its configuration, batch normalisation calibrated, and two images."""
    import torch
    import transformers as t

    net: Any = make(t)
    images = torch.randn(2, 3, size, size)
    net.train()
    with torch.no_grad():
        net(images)
    return net.eval(), {"pixel_values": images}


#: name → the network and an example
TORCH: dict[str, Callable[[], tuple[object, object]]] = {
    "minilm": minilm,
    "vit_tiny": lambda: of_images(
        lambda t: t.ViTForImageClassification(
            t.ViTConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768)
        )
    ),
    "resnet18": lambda: of_images(
        lambda t: t.ResNetForImageClassification(
            t.ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
        )
    ),
    "resnet50": lambda: of_images(lambda t: t.ResNetForImageClassification(t.ResNetConfig())),
    "mobilenet_v2": lambda: of_images(lambda t: t.MobileNetV2ForImageClassification(t.MobileNetV2Config())),
    "convnext_tiny": lambda: of_images(lambda t: t.ConvNextForImageClassification(t.ConvNextConfig())),
}
CASES = [
    *((f"torch/{name}", runtime) for name in TORCH for runtime in ("torch", "onnxruntime")),
    ("onnx/mobilenet_v2_imagenet", "onnxruntime"),
    *((f"onnx/light_{name}", "onnxruntime") for name in LIGHT),
    *((f"onnx/exported_{name}", "onnxruntime") for name in EXPORTED),
]


def load(name: str) -> tuple[object, object]:
    framework, _, rest = name.partition("/")
    if framework == "torch":
        import torch

        torch.manual_seed(0)
        return TORCH[rest]()
    from edgepart.frameworks import framework as framework_named

    folder = Path(os.environ["EDGEPART_DATA"]) / "onnx"
    if not rest.startswith("exported_"):
        path = folder / "light" / f"{rest}.onnx" if rest.startswith("light_") else folder / f"{rest}.onnx"
        return framework_named("onnx").load(path)
    filled = Path(tempfile.mkdtemp()) / "filled.onnx"
    given = folder / "exported" / f"{rest.removeprefix('exported_')}.onnx"
    subprocess.run([sys.executable, str(folder / "fill_weights.py"), str(given), str(filled)], check=True)
    return framework_named("onnx").load(filled)


def run_case(name: str, runtime_name: str, quick: bool) -> dict[str, Any]:
    """Profile one network for one runtime, and measure the parts of all plans."""
    from edgepart.frameworks import framework_of
    from edgepart.frameworks.runtimes import runtime
    from edgepart.hardware import Load
    from edgepart.profiling.machine import LoadSampler
    from edgepart.profiling.profiler import measure

    start = time.monotonic()
    model, example = load(name)
    framework = framework_of(model)
    program = framework.program(model, example)
    profile = measure(framework, program, 1, quick, runtime_name)
    profiled = time.monotonic()
    plans = {plan: cuts(profile, shares) for plan, shares in PLANS.items()}
    load_of_others: Load
    with tempfile.TemporaryDirectory(prefix="edgepart-predicted-") as scratch:
        used = runtime(runtime_name)
        folders = {
            (plan, number): write_part(Path(scratch) / f"{index}_{number}", program, used, bounds, number)
            for index, (plan, positions) in enumerate(plans.items())
            for number, bounds in enumerate(bounds_of(positions, len(profile.layers)))
        }
        folders["whole", 0] = write_part(Path(scratch) / "whole", program, used, (0, len(profile.layers)), 0)
        sampler = LoadSampler(os.getpid())
        try:
            alone = time_alone(folders, runtime_name, QUICK_ROUNDS if quick else ROUNDS)
            chains = {plan: run_chain(plan, folders, program, quick) for plan in plans}
        finally:
            load_of_others = sampler.stop()
    whole_s, wake_up_s = alone["whole", 0], profile.wake_up_s
    parts, totals = [], []
    for plan, positions in plans.items():
        predicted_s = []
        for number, (first, last) in enumerate(bounds_of(positions, len(profile.layers))):
            found = profile.part_latency_s([layer.name for layer in profile.graph.layers[first:last]])
            predicted_s.append(found.seconds + wake_up_s)
            measured, in_chain = alone[plan, number], chains[plan]["parts_s"][number]
            parts.append(
                {"plan": plan, "part": number, "start": first, "stop": last, "predicted_s": found.seconds}
                | {"interpolated": not found.measured, "alone_s": measured, "chain_s": in_chain}
                | {"beside_whole": found.seconds / measured * whole_s / profile.end_to_end.median_s - 1}
                | {"error": found.seconds / measured - 1, "chain_error": predicted_s[-1] / in_chain - 1}
            )
        hops_s = bare_hops(program, positions, predicted_s)
        total, measured = sum(predicted_s) + sum(hops_s), chains[plan]["latency_s"]
        totals.append(
            {"plan": plan, "predicted_s": total, "measured_s": measured, "error": total / measured - 1}
            | {"compute_s": sum(chains[plan]["parts_s"])}
            | {"hops_predicted_s": hops_s, "hops_s": chains[plan]["hops_s"]}
            | {"bytes": [program.graph.boundaries()[position - 1].bytes for position in positions]}
        )
    return {
        "network": name,
        "runtime": runtime_name,
        "quick": quick,
        "date": date.today().isoformat(),
        "layers": len(profile.layers),
        "profile_s": round(profiled - start, 1),
        "took_s": round(time.monotonic() - start, 1),
        "wake_up_s": wake_up_s,
        "load_profile": profile.machine_load.mean_cores,
        # the processes that are measured are among the others here: about one core is theirs, see others()
        "load_measuring": load_of_others.mean_cores,
        "whole": {
            "predicted_s": profile.end_to_end.median_s,
            "measured_s": whole_s,
            "error": profile.end_to_end.median_s / whole_s - 1,
        },
        "parts": parts,
        "chains": totals,
    }


def bare_hops(program: Any, positions: Sequence[int], parts_s: Sequence[float]) -> list[float]:
    """Seconds of every hop of a plan between processes that hold no layers, each busy for as long as its part."""
    from edgepart.measuring.hops import measure_hops
    from edgepart.measuring.processes import TierProcess
    from edgepart.measuring.stand_in import StandIn

    graph, tiers = program.graph, []
    for number, seconds in enumerate(parts_s):
        last = number == len(positions)
        crossing = () if last else graph.crossing(graph.boundaries()[positions[number] - 1].layers)
        stand_in = StandIn.of(graph, crossing, seconds, 1 if last else None)
        tiers.append(TierProcess(f"part{number}", None, (own_core(number),), stand_in=stand_in))
    return measure_hops(tiers, program.example(), split=True, timeout_s=120)


def own_core(number: int) -> int:
    """Of the process of a chain."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[number % len(allowed)]


def others(row: Mapping[str, Any]) -> float:
    """Cores that other processes kept busy while a case was measured, about."""
    measured_here = 1.0
    return float(row["load_profile"] + max(0.0, row["load_measuring"] - measured_here))


def cuts(profile: Any, shares: Sequence[float]) -> list[int]:
    """The boundaries that one feature crosses, nearest to where these shares of the time have passed."""
    from edgepart.profiling.segments import segments

    spent = np.cumsum(list(profile.layer_latency_s().values()))
    places = [stop for _, stop in segments(profile.graph)[:-1]]
    if len(places) < len(shares):
        places = list(range(1, len(spent)))
    chosen: list[int] = []
    for share in shares:
        left = [place for place in places if place not in chosen]
        chosen.append(min(left, key=lambda place: abs(spent[place - 1] / spent[-1] - share)))
    return sorted(chosen)


def bounds_of(positions: Sequence[int], count: int) -> list[tuple[int, int]]:
    ends = [0, *positions, count]
    return list(itertools.pairwise(ends))


def write_part(folder: Path, program: Any, used: Any, bounds: tuple[int, int], number: int) -> Path:
    """A part folder of one stage, as a bundle has it, with what enters it beside it."""
    from edgepart.bundle.manifest import PART, FileRecord, PartManifest, StageRecord
    from edgepart.files import write_arrays
    from edgepart.profiling.segments import edges

    folder.mkdir()
    graph, boundaries = program.graph, program.graph.boundaries()
    low, high = edges(boundaries, *bounds)
    part = program.slice(low, high)
    arrays = dict(program.example())
    if low is not None:
        arrays |= program.slice(None, low).run(arrays)
    write_arrays(folder / "inputs.safetensors", {name: arrays[name] for name in part.inputs}, {})
    path = folder / f"stage_0{used.suffix}"
    used.write(part, path)
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != "inputs.safetensors"]
    last = high is None
    stage = StageRecord(
        file=path.name,
        inputs=part.inputs,
        outputs=() if last else part.outputs,
        exit=graph.outputs[0] if last else None,
        difference=0,
        tolerance=0,
        files={each.relative_to(folder).as_posix(): FileRecord.of(each) for each in files},
    )
    PartManifest(
        framework=graph.framework,
        runtime=used.name,
        runtime_version=used.version(),
        precision="float32",
        tier=f"part{number}",
        classes=(),
        inputs=graph.inputs if low is None else graph.crossing(low.layers),
        outputs=() if last else graph.crossing(high.layers),
        stages=(stage,),
    ).save(folder / PART)
    return folder


def time_alone(folders: Mapping[tuple[str, int], Path], runtime_name: str, rounds: int) -> dict[tuple[str, int], float]:
    """Seconds of every part: the median over rounds of the medians in a process of its own."""
    from edgepart.profiling.machine import KEEP_MEMORY

    found: dict[tuple[str, int], list[float]] = {key: [] for key in folders}
    for _ in range(rounds):
        for key, folder in folders.items():
            command = [sys.executable, __file__, "--alone", str(folder), "--runtime", runtime_name]
            # as the profiler and the processes of a chain do
            done = subprocess.run(command, capture_output=True, check=False, env=os.environ | KEEP_MEMORY)
            if done.returncode:
                raise RuntimeError(f"{folder}: {done.stderr.decode()[-2000:]}")
            found[key].append(json.loads(done.stdout.splitlines()[-1])["median_s"])
    return {key: statistics.median(values) for key, values in found.items()}


def alone(folder: Path, runtime_name: str) -> dict[str, Any]:
    """Time one part in this process."""
    from edgepart.files import read_arrays
    from edgepart.frameworks.runtimes import runtime
    from edgepart.profiling.timing import Effort, time_in_turn

    used = runtime(runtime_name)
    used.set_threads(1)
    path = next(each for each in folder.iterdir() if each.name == f"stage_0{used.suffix}")
    call = used.open(path).runner(read_arrays(folder / "inputs.safetensors"))
    return time_in_turn([call], Effort(runs=20, budget_s=2.0, precision=0.003, warm_up=5))[0].model_dump()


def run_chain(plan: str, folders: Mapping[tuple[str, int], Path], program: Any, quick: bool) -> dict[str, Any]:
    """Median seconds of the parts of a plan, and end to end, as processes joined by loopback."""
    from edgepart.measuring.processes import Processes, TierProcess

    own = [folders[key] for key in folders if key[0] == plan]
    names = [f"part{number}" for number in range(len(own))]
    tiers = [TierProcess(names[number], folder, (own_core(number),)) for number, folder in enumerate(own)]
    order = {"run": names, "answer": names[-1], "thresholds": None}
    with Processes(tiers, [program.example()], split=True, threads=1, timeout_s=120) as processes:
        done = [processes.run(0, order) for _ in range(5 + (QUICK_RUNS if quick else CHAIN_RUNS))][5:]
    parts = [statistics.median(run["work"][number][1] for run in done) for number in range(len(names))]
    hops = [statistics.median(run["hops"][number][0] for run in done) for number in range(len(names) - 1)]
    return {"parts_s": parts, "hops_s": hops, "latency_s": statistics.median(run["latency_s"] for run in done)}


def summary(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Median and 95th percentile of the absolute errors, by runtime and for all."""
    for runtime_name in (*dict.fromkeys(row["runtime"] for row in rows), "all"):
        own = [row for row in rows if runtime_name in (row["runtime"], "all")]
        kinds = {
            "parts alone": [part["error"] for row in own for part in row["parts"]],
            "parts alone, beside the whole": [part["beside_whole"] for row in own for part in row["parts"]],
            "of parts alone interpolated": [p["error"] for row in own for p in row["parts"] if p["interpolated"]],
            "parts in a chain": [part["chain_error"] for row in own for part in row["parts"]],
            "chains end to end": [chain["error"] for row in own for chain in row["chains"]],
            "hops": [
                predicted / measured - 1
                for row in own
                for chain in row["chains"]
                for predicted, measured in zip(chain["hops_predicted_s"], chain["hops_s"], strict=True)
            ],
            "whole networks": [row["whole"]["error"] for row in own],
        }
        for kind, errors in kinds.items():
            if errors:
                absolute = np.abs(errors)
                yield {"runtime": runtime_name, "what": kind, "count": len(errors)} | {
                    "median": float(np.median(absolute)),
                    "percentile_95": float(np.percentile(absolute, 95)),
                    "bias": float(np.median(errors)),
                }


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    from edgepart.profiling.machine import processor

    result = {
        "command": "python benchmarks/predicted.py",
        "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "summary": list(summary(rows)),
        "cases": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK")
    parser.add_argument("--quick", action="store_true", help="quick profiles and few runs; a full run does them anew")
    parser.add_argument("--busy", action="store_true", help="what was measured beside other work, anew")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--runtime", help="only this runtime")
    chosen = parser.parse_args()
    if chosen.alone:
        print(json.dumps(alone(chosen.alone, chosen.runtime)))
        return
    if chosen.case:
        print(json.dumps(run_case(*chosen.case, chosen.quick)))
        return
    unknown = set(chosen.names) - {name for name, _ in CASES}
    if unknown:
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(dict.fromkeys(n for n, _ in CASES))}"
        )
    rows = {}
    if RESULT.exists():
        found = json.loads(RESULT.read_text(encoding="utf-8"))["cases"]
        rows = {(row["network"], row["runtime"]): row for row in found}
    cases = [case for case in CASES if not chosen.busy or (case in rows and others(rows[case]) > BUSY)]
    for case in sorted(cases, key=lambda case: -others(rows[case]) if chosen.busy else 0):
        kept = rows.get(case)
        missing = kept is None or (kept["quick"] and not chosen.quick)
        wanted = chosen.busy or (case[0] in chosen.names if chosen.names else missing)
        if not wanted or chosen.runtime not in (None, case[1]):
            continue
        command = [sys.executable, __file__, "--case", *case, *(["--quick"] if chosen.quick else [])]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            print(*case, "failed:", done.stderr.decode().strip().splitlines()[-1:], flush=True)
            continue
        rows[case] = row = json.loads(done.stdout.splitlines()[-1])
        errors = " ".join(f"{100 * part['error']:+.1f}" for part in row["parts"])
        print(*case, f"parts {errors} %, whole {100 * row['whole']['error']:+.1f} %, {row['took_s']} s", flush=True)
        write([rows[each] for each in CASES if each in rows])
    if rows:
        for line in summary([rows[each] for each in CASES if each in rows]):
            print(line)


if __name__ == "__main__":
    main()
