"""Differences of methods in each rebuild, and their means."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.results import Results
from pqm.paper.style import printed, style

TITLE = "Rebuilds"
NEEDS = ("table rebuilds",)
CAPTION = """
Differences of best-of-n accuracy over all cells, in each rebuild with other seeds of the pretrainings (pale dots), and their
mean with its interval.
"""


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The table of the rebuilds."""
    return results.table("rebuilds")


def draw(data: pd.DataFrame) -> Figure:
    """A panel per n, a row per pair of methods."""
    pairs = list(dict.fromkeys(zip(data["method"], data["reference"])))
    places = {pair: -place for place, pair in enumerate(pairs)}
    sizes = sorted(set(data["n"]))
    figure = Figure(figsize=(7.0, 0.8 + 0.24 * len(pairs)), layout="constrained")
    axes = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    each = [column for column in data if column.startswith("rebuild_")]
    for axis, n in zip(axes, sizes):
        for _, row in data[data["n"] == n].iterrows():
            place, colour = places[row["method"], row["reference"]], style(row["method"]).colour
            axis.plot(100 * row[each].astype(float), [place] * len(each), "o", color=colour, alpha=0.3, markersize=4)
            axis.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, linewidth=2)
            axis.plot(100 * row["difference"], place, "D", color=colour, markersize=5)
        axis.axvline(0, color="#000000", linewidth=0.8)
        axis.set_title(f"n = {n}", fontsize=9)
        axis.set_xlabel("difference, points", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.25)
    axes[0].set_yticks(list(places.values()), [f"{printed(one)} - {printed(other)}" for one, other in pairs])
    return figure
