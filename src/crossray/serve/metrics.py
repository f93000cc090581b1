"""Counts in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def metrics_text(
    answers: Mapping[tuple[str, int], int], rejected: Mapping[str, int], films: int, decoder_starts: int
) -> str:
    """Answers by path and status, uploads refused by stage, films held, starts of the decoder, resident memory."""
    lines = ["# TYPE crossray_answers_total counter"]
    lines += [
        f'crossray_answers_total{{path="{path}",status="{status}"}} {count}'
        for (path, status), count in sorted(answers.items())
    ]
    lines.append("# TYPE crossray_uploads_refused_total counter")
    lines += [f'crossray_uploads_refused_total{{stage="{stage}"}} {count}' for stage, count in sorted(rejected.items())]
    lines += ["# TYPE crossray_films_held gauge", f"crossray_films_held {films}"]
    lines += ["# TYPE crossray_decoder_starts_total counter", f"crossray_decoder_starts_total {decoder_starts}"]
    lines += ["# TYPE crossray_resident_bytes gauge", f"crossray_resident_bytes {_resident_bytes()}"]
    return "\n".join(lines) + "\n"


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
