"""Accuracy against PQM's margin."""

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.figure import legend_below
from pqm.paper.results import Results

TITLE = "The margin"
NEEDS = ("table margin_ablation",)
CAPTION = """
Accuracy of best-of-n against PQM's margin zeta, at the largest n (lines with their intervals) and at an eighth of it (dashed).
"""
METHOD = "pqm-zeta"
POLICY_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Accuracy by margin at the largest n and at an eighth of it, from the margin table."""
    table = results.table("margin_ablation")
    rows = table[table["method"].str.startswith(METHOD)]
    largest = rows["n"].max()
    sizes = {largest, max((n for n in rows["n"] if n <= largest // 8), default=largest)}
    rows = rows[rows["n"].isin(sizes)]
    return rows.assign(zeta=rows["method"].str.removeprefix(METHOD).astype(float))


def draw(data: pd.DataFrame) -> Figure:
    """A panel per benchmark, a line per policy and n."""
    benchmarks, sizes = list(dict.fromkeys(data["benchmark"])), sorted(set(data["n"]))
    figure = Figure(figsize=(4.6 * len(benchmarks), 4.0))
    axes = figure.subplots(1, len(benchmarks), squeeze=False)
    for axis, benchmark in zip(axes[0], benchmarks):
        panel = data[data["benchmark"] == benchmark]
        places = {zeta: place for place, zeta in enumerate(sorted(set(panel["zeta"])))}
        for colour, policy in zip(cycle(POLICY_COLOURS), dict.fromkeys(panel["policy"])):
            for n, line_style in zip(sizes[::-1], ("-", "--")):
                line = panel[(panel["policy"] == policy) & (panel["n"] == n)].sort_values("zeta")
                x = line["zeta"].map(places)
                name = f"{policy} policy, n = {n}"
                axis.plot(x, 100 * line["accuracy"], line_style, color=colour, marker="o", markersize=4, label=name)
                if n == sizes[-1]:
                    axis.fill_between(x, 100 * line["low"], 100 * line["high"], color=colour, alpha=0.12, linewidth=0)
        axis.set_xticks(list(places.values()), [f"{zeta:g}" for zeta in places])
        axis.set_title(benchmark, fontsize=10)
        axis.set_xlabel("margin ζ")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("accuracy, %")
    legend_below(figure, axes[0][0], 3)
    return figure
