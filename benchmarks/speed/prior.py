"""PRIOR's first and third stage above its encoders, and where the third one's time goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of
from benchmarks.speed.models import batch, method, steps
from torch.profiler import ProfilerActivity, profile, record_function

from crossray.freed_memory import keep_freed_memory
from crossray.methods.base import Method

_PARTS = ("image_encoder", "text_encoder", "image_decoder", "generation", "bank", "local", "sentence_pool")


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()
    pairs = batch(options.pick(64, 4), options.pick(128, 64))
    rows = []
    for stage in ("align", "reconstruct"):
        model = method("prior", options)
        model.enter_stage(stage)
        both = steps(model, pairs)
        seconds = interleaved({"full": both.full, "encoders": both.encoders}, options.rounds, warm_ups=2)
        detail = seconds_of(seconds)
        if stage == "reconstruct":
            detail += "; forward by part: " + forward_shares(model, both.full)
        rows.append(ratio_row(f"step_prior_{stage}", seconds["full"], seconds["encoders"], detail=detail))
    return rows


def forward_shares(model: Method, step: Callable[[], object]) -> str:
    """The share of a step's processor time that each part's forward pass takes, by torch's profiler."""

    def named(part: str) -> None:
        module: Any = getattr(model, part)
        inner = module.forward

        def forward(*given: Any, **more: Any) -> Any:
            with record_function(f"part:{part}"):
                return inner(*given, **more)

        module.forward = forward

    for part in _PARTS:
        named(part)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step()
    events = seen.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    parts = {event.key[5:]: event.cpu_time_total for event in events if event.key.startswith("part:")}
    return ", ".join(f"{name} {100 * time / total:.0f} %" for name, time in sorted(parts.items(), key=lambda p: -p[1]))
