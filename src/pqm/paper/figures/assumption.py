"""Assumption 3.1: completions after right and after wrong prefixes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pqm.estimation.statistics import Bootstrap, interval
from pqm.paper.audit import audited_prefixes
from pqm.paper.figure import FIRST_WRONG, LEAST_STEPS, RIGHT, STEP_COLOURS, legend_below
from pqm.paper.results import Results

TITLE = "Assumption 3.1"
NEEDS = ("audit",)
CAPTION = """
Assumption 3.1 in the study: the share of the completer's completions that reach the right answer, from truly right and truly
wrong prefixes of the audit set, by the prefix's length, with intervals over questions. Each distinct prefix counts once. Whole
solutions, which have no completions, are left out, and so are lengths with fewer than ten prefixes.
"""
COLUMNS = ["step", "right", "share", "low", "high", "prefixes"]


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The share of right completions by the length and the truth of the prefix."""
    steps, config = audited_prefixes(results), results.config
    clusters = pd.Series({name: name for name in steps["question_id"].unique()})
    bootstrap = Bootstrap(clusters, config.resamples, config.seed)
    rows = []
    for (step, right), group in steps.groupby(["step", "right"]):
        if len(group) < LEAST_STEPS:
            continue
        sums = group.groupby("question_id")[["hits", "count"]].sum().reindex(bootstrap.questions, fill_value=0).to_numpy(float)
        low, high = interval(bootstrap.ratios(sums[None, :, 0], sums[None, :, 1]), config.confidence)
        share = group["hits"].sum() / group["count"].sum()
        rows.append({"step": step, "right": right, "share": share, "low": low, "high": high, "prefixes": len(group)})
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(data: pd.DataFrame) -> Figure:
    """Bars side by side for right and wrong prefixes."""
    figure = Figure(figsize=(5.6, 3.8))
    axis = figure.subplots()
    for right, offset, name in ((True, -0.18, RIGHT), (False, 0.18, FIRST_WRONG)):
        part = data[data["right"] == right]
        x, heights = part["step"] + offset, 100 * part["share"]
        spread = 100 * np.clip([part["share"] - part["low"], part["high"] - part["share"]], 0, None)
        axis.bar(x, heights, 0.34, color=STEP_COLOURS[name], label=f"after a {'right' if right else 'wrong'} prefix")
        axis.errorbar(x, heights, spread, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    axis.set_xlabel("steps of the prefix")
    axis.set_ylabel("right completions, %")
    axis.set_xticks(sorted(set(data["step"])))
    axis.set_ylim(0, 105)
    legend_below(figure, axis, 2)
    return figure
