"""``edgepart profile --calibrate``: a device file from a few networks that were measured on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click

from edgepart.cli.kit import KIT_OPTIONS
from edgepart.cli.measure import refuse_others
from edgepart.cli.output import note, off, print_json, print_table
from edgepart.errors import FileError
from edgepart.files import require_parent
from edgepart.hardware import Device, Profile, catalogue
from edgepart.hardware.calibration import POOR_SEGMENT, POOR_WHOLE, Calibration, NetworkError, calibrate
from edgepart.units import percent, seconds, significant, size


def calibrate_device(
    context: click.Context, path: Path, given: Sequence[str], measure: Callable[[str], Profile], as_json: bool
) -> None:
    """Fit a device's rates and write its file.

    Args:
        given: profile.json files that were measured on the device, and models
        measure: profiles a model here

    Raises:
        UsageError: nothing is given.
        FileError: the device file or a profile cannot be read, or the file not be written.
        ProfileError: the profiles were not measured alike, or a model cannot be measured.
    """
    if not given:
        raise click.UsageError("Missing argument 'MODEL': --calibrate takes profile.json files or models.", context)
    measuring = () if not all(map(_is_profile, given)) else ("runtime", "threads", "quick")
    needless = ("output", "link", "listen", *KIT_OPTIONS, *measuring)
    refuse_others(context, needless, "has no part in --calibrate: leave it out")
    if path.suffix != ".yaml":
        raise FileError(
            f"a device is kept in a .yaml file, not in {path}: give --calibrate {path.with_suffix('.yaml')}"
        )
    require_parent(path)
    known = catalogue.device(str(path.absolute())) if path.exists() else None
    profiles = [Profile.load(text) if _is_profile(text) else measure(text) for text in given]
    found = calibrate(profiles)
    device = _device(path.name.removesuffix(".yaml"), profiles, found, known)
    catalogue.write_device(path, device)
    if as_json:
        print_json(_summary(found) | {"device": device.model_dump(exclude_none=True), "file": str(path)})
        return
    print_table(("network", "measured", "error", "error when left out"), [_row(one) for one in found.networks])
    click.echo()
    print_table(("number", "fitted", "share of the time"), _numbers(found))
    click.echo(f"\nsegments are off by {percent(found.segment_error)} in the middle")
    if found.left_out:
        click.echo(f"expect of other networks: {off(*found.left_out)}")
    for text in _warnings(found):
        note(text)
    click.echo(f"\nwritten to {path}")


def _is_profile(text: str) -> bool:
    return text.endswith(".json")


def _device(name: str, profiles: Sequence[Profile], found: Calibration, known: Device | None) -> Device:
    """The measured machine under its own name; what an older file says of title, memory and power is kept."""
    measured = profiles[0]
    machine = measured.device
    fields = machine.model_dump() | {"title": str(machine.facts.get("processor", name)), "note": ""}
    if known is not None:
        kept = ("title", "tier", "memory_bytes", "cores", "power_w", "note")
        fields |= {field: getattr(known, field) for field in kept}
    networks = ", ".join(profile.graph.name for profile in profiles)
    return Device.model_validate(
        fields
        | {
            "name": name,
            **found.rates,
            **_expected(found),
            "basis": "measured",
            "source": f"edgepart profile --calibrate on {date.today().isoformat()} with {networks}; networks off by "
            f"{percent(found.network_error)} in the middle, segments by {percent(found.segment_error)}",
            "facts": machine.facts | {"runtime": measured.runtime, "threads": measured.threads},
        }
    )


def _expected(found: Calibration) -> dict[str, float | None]:
    """How far off networks were that the fit did not know, for the device file; not known with one network."""
    median, worst = found.left_out or (None, None)
    return {
        name: None if error is None else round(error, 3)
        for name, error in (("left_out_error", median), ("left_out_worst", worst))
    }


def _summary(found: Calibration) -> dict[str, Any]:
    return {
        "networks": [
            {"network": x.network, "measured_s": x.measured_s, "error": x.error, "error_left_out": x.left_out}
            for x in found.networks
        ],
        "network_error": found.network_error,
        **_expected(found),
        "segments": found.segments,
        "segment_error": found.segment_error,
        "shares": found.shares,
        "undetermined": list(found.undetermined),
        "poor": found.is_poor,
    }


def _row(one: NetworkError) -> tuple[str, ...]:
    left_out = "-" if one.left_out is None else _signed(one.left_out)
    return one.network, seconds(one.measured_s), _signed(one.error), left_out


def _numbers(found: Calibration) -> list[tuple[str, ...]]:
    rates = found.rates
    values = {
        "peak_macs_per_s": f"{significant(rates['peak_macs_per_s'] / 1e9)} GMAC/s",
        "grouped_macs_per_s": f"{significant(rates['grouped_macs_per_s'] / 1e9)} GMAC/s",
        "activation_bytes_per_s": f"{size(rates['activation_bytes_per_s'])}/s",
        "memory_bytes_per_s": f"{size(rates['memory_bytes_per_s'])}/s",
        "call_overhead_s": f"{seconds(rates['call_overhead_s'])} a kernel",
        "fused_share": f"{percent(rates['fused_share'])} saved",
    }
    return [(name, value, percent(found.shares[name])) for name, value in values.items()]


def _warnings(found: Calibration) -> list[str]:
    told = []
    if found.is_poor:
        told.append(
            f"The fit is poor (a network off by more than {percent(POOR_WHOLE, 0)}, or segments by more than "
            f"{percent(POOR_SEGMENT, 0)} in the middle): use the device for a first impression only, or profile your "
            "network on it."
        )
    if found.undetermined:
        told.append(
            f"What was measured says little about {' and '.join(found.undetermined)}, for which what is usual was "
            "taken: add a network in which that matters."
        )
    if found.left_out is None:
        told.append("With one network nothing says how well others are predicted: give a second one.")
    return told


def _signed(value: float) -> str:
    return f"{'+' * (value >= 0)}{percent(value)}"
