"""Curves of accuracy by method, in a panel per benchmark and policy."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.paper.figure import legend_below
from pqm.paper.style import style


def panels(table: pd.DataFrame, xlabel: str) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A panel per benchmark (row) and policy (column), in the table's order."""
    policies, benchmarks = list(dict.fromkeys(table["policy"])), list(dict.fromkeys(table["benchmark"]))
    figure = Figure(figsize=(3.6 * len(policies), 3 * len(benchmarks) + 0.8))
    axes = figure.subplots(len(benchmarks), len(policies), sharex=True, squeeze=False)
    found = {}
    for row, benchmark in enumerate(benchmarks):
        for column, policy in enumerate(policies):
            axis = found[benchmark, policy] = axes[row][column]
            axis.set_title(f"{policy} policy, {benchmark}", fontsize=10)
            axis.grid(alpha=0.25)
            if column == 0:
                axis.set_ylabel("accuracy, %")
            if row == len(benchmarks) - 1:
                axis.set_xlabel(xlabel)
    return figure, found


def curves(table: pd.DataFrame, methods: Sequence[str], bands: Sequence[str], columns: int) -> Figure:
    """Accuracy against n, with intervals of the methods in `bands`; `columns` is the number of columns of the legend."""
    figure, axes = panels(table, "n, samples to choose from")
    for (benchmark, policy), axis in axes.items():
        panel = table[(table["policy"] == policy) & (table["benchmark"] == benchmark)]
        for method in methods:
            line = panel[panel["method"] == method].sort_values("n")
            look = style(method)
            axis.plot(line["n"], 100 * line["accuracy"], color=look.colour, linestyle=look.line, linewidth=1.5, label=look.name)
            if method in bands:
                axis.fill_between(line["n"], 100 * line["low"], 100 * line["high"], color=look.colour, alpha=0.15, linewidth=0)
        axis.set_xscale("log", base=2)
        ticks = sorted(set(panel["n"]))
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    legend_below(figure, next(iter(axes.values())), columns)
    return figure
