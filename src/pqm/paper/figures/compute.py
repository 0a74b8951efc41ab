"""Accuracy against the compute of sampling and scoring."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.cost import seconds_per_sample
from pqm.paper.curves import panels
from pqm.paper.figure import legend_below
from pqm.paper.results import Results
from pqm.paper.style import in_print_order, style

TITLE = "Accuracy against compute"
NEEDS = ("table main", "scores", "everything")
CAPTION = """
Accuracy against the seconds per question on one core: to sample n solutions and, where a reward model chooses, to score them. n
rises along each line. Seconds are wall-clock times of whole jobs, start-up included, divided by their samples; the rate of
scoring is the same for all policies. Training is not counted. The seconds are those of this build and differ from build to build.
"""


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The main table's accuracies with the seconds per question of n samples and, for reward models, of their scores."""
    table = results.table("main")
    table = table[table["method"].isin({"self-consistency"} | {results.method(run) for run in runs})]
    joined = table.merge(seconds_per_sample(results, list(runs)), on=["policy", "benchmark"])
    scored = joined["method"] != "self-consistency"
    return joined.assign(seconds=joined["n"] * (joined["sampling"] + scored * joined["scoring"]))


def draw(data: pd.DataFrame) -> Figure:
    """A curve per method."""
    figure, axes = panels(data, "seconds per question, one core")
    for (benchmark, policy), axis in axes.items():
        panel = data[(data["policy"] == policy) & (data["benchmark"] == benchmark)]
        for method in in_print_order(panel["method"]):
            line, look = panel[panel["method"] == method].sort_values("n"), style(method)
            axis.plot(
                line["seconds"], 100 * line["accuracy"], color=look.colour, linestyle=look.line, marker=".", label=look.name
            )
        axis.set_xscale("log")
    legend_below(figure, next(iter(axes.values())), 4)
    return figure
