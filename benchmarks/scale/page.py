"""``docs/scale.md`` from ``docs/results/scale/scale.json`` and the formula: ``python -m benchmarks.scale.page``.

``--check`` writes nothing and fails if the page is not what they say.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import jinja2
from benchmarks.scale.cost import (
    Encoders,
    Machine,
    Words,
    exchange_seconds,
    largest_own,
    overtaking_batch,
    reduce_seconds,
    step,
    store_bytes,
)

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results" / "scale" / "scale.json"
PAGE = DOCS / "scale.md"

#: Peaks of the data sheets (dense; links one way), and what a host's network adapters give each of its accelerators.
MACHINES = (
    Machine("A100 80 GB", 312e12, 19.5e12, 2.04e12, 80e9, inside=300e9, between=25e9),
    Machine("H100 80 GB", 989e12, 67e12, 3.35e12, 80e9, inside=450e9, between=50e9),
)
TRUNKS = ("ResNet-50", "ViT-B/16")
TEXT = "BERT-base"
REGIONS = {"ResNet-50": (49, 196, 361), "ViT-B/16": (196,)}
SHAPES = tuple((trunk, regions) for trunk in TRUNKS for regions in REGIONS[trunk])
OWN = 48
COUNTS = (1, 8, 64)
SAMPLED = 16
KEPT = 2e9
"""Bytes of the loss beside activations: kept scores (half a gigabyte), a chunk, gathered words and their gradient."""

SETS = {"400 thousand": 400_000, "10 million": 10_000_000}
SIZES = (224, 256, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page is out of date")
    if not parser.parse_args().check:
        write()
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text(json.loads(RESULTS.read_text("utf-8"))):
        sys.exit(f"{PAGE.name} is not what {RESULTS.name} says: run python -m benchmarks.scale.page")


def write() -> None:
    PAGE.write_text(text(json.loads(RESULTS.read_text("utf-8"))), encoding="utf-8")


def text(found: dict[str, Any]) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, of numbers and names of ours
    )
    return environment.get_template("scale.md.j2").render(
        found=found,
        machines=MACHINES,
        own=OWN,
        sampled=SAMPLED,
        encoders=[(name, encoders_of(found, name)) for name in TRUNKS],
        words=[(regions, words_of(found, regions)) for regions in sorted({r for rs in REGIONS.values() for r in rs})],
        speeds=_speeds(found),
        overtaking=_overtaking(found),
        collectives=_collectives(found),
        storage=_storage(found),
        points=[{**point, "ratio": statistics.median(point["ratios"])} for point in found["points"]],
    )


def encoders_of(found: dict[str, Any], trunk: str) -> Encoders:
    both = [found["encoders"][name] for name in (trunk, TEXT)]
    flops, moved, saved, weights = (sum(one[what] for one in both) for what in ("flops", "moved", "saved", "weights"))
    return Encoders(f"{trunk} + {TEXT}", flops, moved, saved, weights)


def words_of(found: dict[str, Any], regions: int) -> Words:
    own = found["words"]
    return Words(regions, own["mean"], own["slots"], own["width"], own["passes"])


def _speeds(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for machine in MACHINES:
        for trunk, regions in SHAPES:
            encoders, words = encoders_of(found, trunk), words_of(found, regions)
            for count in COUNTS:
                ways = {
                    way: step(machine, encoders, words, own=OWN, accelerators=count, contrast=way, sampled=SAMPLED)
                    for way in ("none", "all", "own", "sampled")
                }
                speeds = {way: OWN * count / one.seconds for way, one in ways.items()}
                rows.append(
                    {"machine": machine.name, "encoders": encoders.name, "regions": regions, "count": count}
                    | {"speeds": speeds, "parts": ways["all"]}
                )
    return rows


def _overtaking(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "encoders": encoders_of(found, trunk).name,
            "regions": regions,
            "batches": [overtaking_batch(m, encoders_of(found, trunk), words_of(found, regions)) for m in MACHINES],
            "fits": [largest_own(m, encoders_of(found, trunk), kept=KEPT) for m in MACHINES],
        }
        for trunk, regions in SHAPES
    ]


def _collectives(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Megabytes and milliseconds of each, on the first machine."""
    machine, words = MACHINES[0], words_of(found, 49)
    rows = []
    for count in COUNTS[1:]:
        pairs = OWN * count
        sizes = {
            "film and report vectors": 2 * 4.0 * pairs * words.width,
            f"words, padded to {words.slots}": 4.0 * pairs * words.slots * words.width,
            "rows of scores": 4.0 * pairs * pairs,
        }
        for name, size in sizes.items():
            milliseconds = 1e3 * (exchange_seconds(machine, size, count) + reduce_seconds(machine, size, count))
            rows.append({"count": count, "name": name, "megabytes": size / 1e6, "milliseconds": milliseconds})
        for trunk in TRUNKS:
            size = 4.0 * encoders_of(found, trunk).weights
            milliseconds = 1e3 * reduce_seconds(machine, size, count)
            name = f"gradients, {encoders_of(found, trunk).name}"
            rows.append({"count": count, "name": name, "megabytes": size / 1e6, "milliseconds": milliseconds})
    return rows


def _storage(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "size": size,
            "gigabytes": store_bytes(studies, films=1.0, size=size, report=found["report_bytes"]) / 1e9,
            "index": studies * 2 * 256 * 4 / 1e9,
        }
        for name, studies in SETS.items()
        for size in SIZES
    ]


if __name__ == "__main__":
    main()
