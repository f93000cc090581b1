"""How figures look, wherever they are shown: what they share, and the colours of those that stand alone."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's colours, told apart by every kind of colour sight.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossray",
    "font.family": ["sans-serif"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
