"""The results as a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Bytes a second over a cable of one gigabit.
_GIGABIT = 125e6


def table(results: Mapping[str, Any]) -> str:
    """Markdown: equality, recoveries, speeds and what bounds them."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        f"`{results['command']}`, {results['date']}, {versions}; {results['cores']} cores, "
        f"load {results['load_at_end']:.1f}.",
        "",
        f"Two hosts against one process, {results['steps']} steps: losses differ by at most "
        f"{results['loss_difference']:.1e} (relative).",
        "",
        "| fault | the other one tells after | next new step after | at step | goes on from | steps lost "
        "| commands given again | losses differ by |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['fault']} | {row['seconds_until_told']:.1f} s | {row['seconds_until_next_step']:.1f} s "
        f"| {row['at_step']} | {row['saved_step']} | {row['steps_lost']} | {row['commands_given_again']} "
        f"| {row['loss_difference']:.1e} |"
        for row in results["recoveries"]
    ]
    lines += ["", *(f"> {row['told']}\n" for row in results["recoveries"])]
    lines += [
        "| processes | pairs a step | s a step | processor ms a pair | kB sent by each process a step "
        "| which takes at 1 Gb/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_speed_row(row) for row in results["speeds"]]
    return "\n".join(lines) + "\n"


def _speed_row(row: Mapping[str, Any]) -> str:
    sent = row["bytes_sent_per_process_and_step"]
    return (
        f"| {row['processes']} | {row['pairs_per_step']} | {row['seconds_per_step']:.3f} "
        f"| {1e3 * row['processor_seconds_per_pair']:.1f} | {sent / 1e3:.0f} | {1e3 * sent / _GIGABIT:.1f} ms |"
    )


def curves(losses: Mapping[str, Sequence[float]], path: Path) -> None:
    """Loss by step of every run, one over the other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for place, (name, values) in enumerate(losses.items()):
        width = 1.2 + 2.0 * (len(losses) - 1 - place)  # the first is drawn widest: the others lie on it
        axes.plot(range(1, len(values) + 1), values, linewidth=width, label=name)
    axes.set(xlabel="step", ylabel="training loss")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
