"""Where the time of some training steps goes: a trace for chrome://tracing or Perfetto, and one page that sums it up.

The loop marks its parts by :func:`span`, which costs nothing to speak of while nobody listens. A profiled run ends in
the same weights: nothing here draws random numbers or changes what is computed.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import jinja2
import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from crossray.files import write_whole

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

PROFILE = "profile"
TRACE_FILE = "trace.json"
SUMMARY_FILE = "summary.md"

PARTS = (
    "data wait",
    "augmentation",
    "image encoder",
    "text encoder",
    "losses",
    "backward",
    "averaging gradients",
    "reading the losses",
    "optimiser",
    "validation",
    "saving",
)
REST = "the rest"

_MARK = "crossray: "
_OPERATIONS = 12
_ENCODERS = {"image_encoder": ("forward", "places"), "text_encoder": ("forward",)}


def span(part: str) -> record_function:
    """Marks what is done inside as one of :data:`PARTS`; inside another one it counts as that."""
    return record_function(_MARK + part)


class Event(Protocol):
    """What is read of a profiler's event."""

    @property
    def name(self) -> str:
        """What was marked, or the operation."""
        ...

    @property
    def time_range(self) -> Any:
        """``start`` and ``end`` in microseconds."""
        ...

    @property
    def thread(self) -> int:
        """Of the host."""
        ...


@dataclass(frozen=True)
class Share:
    """Time of one part in all profiled steps together: of the host, and of its device where there is a GPU."""

    name: str
    seconds: float
    device_seconds: float
    calls: int


class StepProfiler:
    """Profiles some steps of a run; entered before its first step, told after each.

    The first step is a warm-up, whose floating-point operations are counted. Then ``steps`` are traced.

    Args:
        method: the model, whose encoders are marked.
        folder: the run; ``profile/`` in it is written when the last step is over, or the run.
        steps: how many are traced.
        pairs: of one step, on all processes together.
        device: where the model is.
        say: is told where the page is.
    """

    def __init__(
        self,
        method: nn.Module,
        folder: Path,
        *,
        steps: int,
        pairs: int,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self._method, self._folder, self._device, self._say = method, folder / PROFILE, device, say
        self._steps, self._pairs = steps, pairs
        self._done, self._start, self._flops = 0, 0.0, 0
        self._counter: Any = None
        self._profile: Any = None
        self._marks, self._counting = ExitStack(), ExitStack()

    def __enter__(self) -> StepProfiler:
        self._marks.enter_context(_marked_encoders(self._method))
        self._counter = self._counting.enter_context(operation_counter())
        return self

    def step(self) -> None:
        """One step is over."""
        if self._profile is not None:
            self._done += 1
            if self._done == self._steps:
                self._finish()
        elif not self._done:
            self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counting.close()
        if self._profile is not None:
            self._finish()
        self._marks.close()
        if not self._done:
            self._say("nothing was profiled: the run ended with the step that warms up.")

    def _begin(self) -> None:
        self._counting.close()
        self._flops = self._counter.get_total_flops()
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self._device)
        self._profile = profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])])
        self._profile.start()
        self._start = time.perf_counter()

    def _finish(self) -> None:
        seconds, recorded = time.perf_counter() - self._start, self._profile
        self._profile = None
        recorded.stop()
        self._marks.close()
        if self._done:
            self._folder.mkdir(exist_ok=True)
            recorded.export_chrome_trace(str(self._folder / TRACE_FILE))
            page = self._page(seconds, shares(recorded.events(), seconds), recorded.key_averages())
            write_whole(self._folder / SUMMARY_FILE, page)
            self._say(f"{self._done} steps profiled: see {self._folder / SUMMARY_FILE}")

    def _page(self, seconds: float, parts: Sequence[Share], operations: Iterable[Any]) -> str:
        named = [found for found in operations if not found.key.startswith(_MARK)]
        on_gpu = self._device.type == "cuda"
        cost = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        slowest = sorted(named, key=lambda found: getattr(found, cost), reverse=True)[:_OPERATIONS]
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("crossray", "training"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # Markdown, of numbers and names of ours and torch's
        )
        return environment.get_template("profile.md.j2").render(
            method=getattr(self._method, "name", type(self._method).__name__),
            device=str(self._device),
            on_gpu=on_gpu,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            steps=self._done,
            pairs=self._pairs,
            seconds=seconds,
            parts=parts,
            flops=self._flops,
            operations=[(found.key, found.count, getattr(found, cost) / 1e6) for found in slowest],
            peak_gigabytes=peak_bytes(self._device) / 1e9,
            trace=TRACE_FILE,
        )


def operation_counter() -> FlopCounterMode:
    """Counts floating-point operations of products and convolutions, also those that torch's own counter forgets.

    They are products in place, and those of :mod:`crossray.products`.
    """
    from torch.utils.flop_counter import FlopCounterMode  # half a second that only counting is worth

    counter, aten = FlopCounterMode(display=False), torch.ops.aten
    counter.flop_registry |= {
        in_place: counter.flop_registry[product]
        for in_place, product in ((aten.addmm_, aten.addmm), (aten.baddbmm_, aten.baddbmm))
    }
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        counter.flop_registry[torch.ops.mkldnn._linear_pointwise] = _flops_of_linear
    return counter


def _flops_of_linear(rows: Tensor, columns: Tensor, *_: object, **__: object) -> int:
    return 2 * rows.numel() * len(columns)


def shares(events: Iterable[Event], seconds: float) -> list[Share]:
    """The time of each part, and of the rest of ``seconds``; what is marked inside another part counts as that."""
    marked = [event for event in events if event.name.startswith(_MARK) and _of_the_host(event)]
    host: dict[str, float] = defaultdict(float)
    device: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    ends: dict[int, float] = defaultdict(float)
    for event in sorted(marked, key=lambda event: (event.time_range.start, -event.time_range.end)):
        if event.time_range.start < ends[event.thread]:
            continue
        ends[event.thread] = event.time_range.end
        part = event.name.removeprefix(_MARK)
        host[part] += (event.time_range.end - event.time_range.start) / 1e6
        device[part] += getattr(event, "device_time_total", 0.0) / 1e6
        calls[part] += 1
    found = [Share(part, host[part], device[part], calls[part]) for part in PARTS if calls[part]]
    return [*found, Share(REST, max(0.0, seconds - sum(host.values())), 0.0, 0)]


def peak_bytes(device: torch.device) -> int:
    """The most memory held at once: by tensors on a GPU, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _of_the_host(event: Event) -> bool:
    """A GPU's timeline has the marks once more."""
    return str(getattr(event, "device_type", "CPU")).endswith("CPU")


@contextmanager
def _marked_encoders(method: nn.Module) -> Iterator[None]:
    """What the encoders do is marked while the block lasts."""
    changed: list[tuple[nn.Module, str]] = []
    for attribute, entrances in _ENCODERS.items():
        encoder = getattr(method, attribute, None)
        for name in entrances:
            if isinstance(encoder, nn.Module) and hasattr(encoder, name):
                setattr(encoder, name, span(attribute.replace("_", " "))(getattr(encoder, name)))
                changed.append((encoder, name))
    try:
        yield
    finally:
        for encoder, name in changed:
            delattr(encoder, name)
