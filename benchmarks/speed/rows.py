"""The rows of the table: what is measured, by which benchmark, and what was to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """``bound`` is to be reached by the median: at least, or at most; a row without one states its figure.

    ``unit`` follows a figure; ``scale`` multiplies it first.
    """

    key: str
    bench: str
    what: str
    reach: str
    kind: Literal["at least", "at most", "stated"]
    bound: float | None = None
    unit: str = "×"

    def holds(self, median: float) -> bool | None:
        if self.bound is None or self.kind == "stated":
            return None
        return median >= self.bound if self.kind == "at least" else median <= self.bound


def _times(key: str, bench: str, what: str, bound: float) -> Row:
    return Row(key, bench, what, f"≥ {bound:g}×", "at least", bound)


def _within(key: str, bench: str, what: str, bound: float) -> Row:
    return Row(key, bench, what, f"≤ {bound:.2f}×", "at most", bound)


def _stated(key: str, bench: str, what: str, unit: str) -> Row:
    return Row(key, bench, what, "stated", "stated", None, unit)


LOSS_SHAPES = {(49, 32): 5.0, (49, 64): 8.0, (49, 128): 12.0, (196, 64): 5.0, (361, 32): 4.5}
STEP_BOUNDS = {
    "convirt": 1.05,
    "clip": 1.05,
    "siglip": 1.05,
    "global_local": 1.15,
    "gloria": 1.15,
    "joimternet": 1.15,
    "lovt": 1.15,
    "mgca": 1.15,
}

_LOSS = "word-region loss, forward + backward, against the loop"

ROWS: tuple[Row, ...] = (
    *(
        _times(f"loss_r{r}_b{b}", "loss", f"{_LOSS} padded to the longest: R = {r}, B = {b}", bound)
        for (r, b), bound in LOSS_SHAPES.items()
    ),
    *(
        _times(f"loss_cut_r{r}_b{b}", "loss", f"{_LOSS} that cuts each report to its words: R = {r}, B = {b}", bound)
        for (r, b), bound in LOSS_SHAPES.items()
    ),
    _times("memory_ratio", "memory", "its peak memory at R = 49, B = 128, the padded loop over ours", 10),
    _times("memory_ratio_cut", "memory", "the same, the loop that cuts each report", 10),
    Row(
        "memory_b256",
        "memory",
        "its peak memory at R = 49, B = 256 above the inputs",
        "≤ 1.2 GB",
        "at most",
        1.2,
        " GB",
    ),
    *(
        _within(f"step_{name}", "step", f"full training step over encoder-only step: {name}", bound)
        for name, bound in STEP_BOUNDS.items()
    ),
    _within("step_prior_align", "prior", "the same: prior, stage 1 (align)", 1.10),
    _stated("step_prior_reconstruct", "prior", "the same: prior, stage 3 (reconstruct)", "×"),
    _times(
        "data_jitter",
        "data",
        "store to augmented batch at 224 px against JPEG of 2,500 px: crop + brightness, contrast",
        40,
    ),
    _times("data_affine", "data", "the same with affine", 12),
    _stated("data_lovt", "data", "the same, LoVT's whole list", "×"),
    Row(
        "outside_jitter",
        "outside",
        "share of a step outside forward, backward, optimiser: crop + jitter",
        "≤ 3 %",
        "at most",
        3,
        " %",
    ),
    Row("outside_affine", "outside", "the same with affine", "≤ 10 %", "at most", 10, " %"),
    *(
        _within(f"prepare_{name}", "prepare", f"data prepare on two cores over decoding alone: {what}", 1.3)
        for name, what in {
            "jpeg2000": "JPEG 2000 DICOM, 2,500 px",
            "jpeg_lossless": "JPEG lossless DICOM, 2,500 px",
            "jpeg": "JPEG, 2,500 px",
        }.items()
    ),
    _stated(
        "prepare_uncompressed", "prepare", "data prepare on two cores: uncompressed DICOM, 2,500 px, a film", " ms"
    ),
    _times("retrieval_time", "retrieval", "R@K both ways, N = 20,000, D = 256, against full-matrix argsort: time", 6),
    _times("retrieval_memory", "retrieval", "the same: peak memory", 15),
    _times(
        "bootstrap", "bootstrap", "bootstrap AUROC, 1,000 draws × 14 labels × 5,000 films, against scikit-learn", 25
    ),
    _within(
        "search_exact", "search", "top-10 of a million 256-d vectors: crossray search over bare faiss, after load", 1.2
    ),
    _stated("search_ivf", "search", "approximate index (IVF): exact time over its time", "×"),
    _within(
        "caching_resnet18", "caching", "gradient caching at 8× the micro-batch over plain accumulation: resnet18", 1.40
    ),
    _within("caching_lite0", "caching", "the same: EfficientNet-Lite0", 1.20),
    _stated("growth_time_words", "growth", "exponent of the loss's time in words (32 … 256)", ""),
    _stated("growth_time_regions", "growth", "exponent of its time in regions (49 … 784)", ""),
    _stated("growth_time_pairs", "growth", "exponent of its time in pairs (16 … 512)", ""),
    _stated("growth_memory_pairs", "growth", "exponent of its peak memory in pairs (16 … 512)", ""),
)
