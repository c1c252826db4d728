"""Draw the results: one bar a row, relative to its peer, with a mark at the aim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "stretta"  # the same results give the same file
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of how to draw


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw how fast each row is compared with its peer; more is better, 1 is as fast."""
    shown = [row for row in rows if row["ratio"]]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(shown) + 1))
    for place, row in enumerate(reversed(shown)):
        less_is_better = row["kind"] in ("p99", "memory")
        values = [row["ratio"][name] for name in ("low", "median", "high")]
        low, middle, high = sorted(1 / value for value in values) if less_is_better else values
        colour = {True: "#2a7f62", False: "#c2571a", None: "#6b7280"}[row["reached"]]
        axes.barh(place, middle, color=colour, height=0.6)
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        if row["bar"] is not None:
            bar = 1 / row["bar"] if less_is_better else row["bar"]
            axes.plot([bar, bar], [place - 0.4, place + 0.4], color="black", linewidth=2)
    axes.set_yticks(
        range(len(shown)), [f"{row['work']} : {row['peer']}" for row in reversed(shown)], fontsize=8
    )
    axes.axvline(1, color="#9ca3af", linewidth=0.8, zorder=0)
    axes.set_xlabel("Stretta / peer (latency and memory: peer / Stretta); thick mark: the aim")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
