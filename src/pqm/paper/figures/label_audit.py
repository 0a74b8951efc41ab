"""Hard Monte Carlo labels against the truth."""

from collections.abc import Sequence
from math import comb

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.audit import audited_prefixes
from pqm.paper.figure import legend_below
from pqm.paper.results import Results

TITLE = "Monte Carlo labels against the truth"
NEEDS = ("audit",)
CAPTION = """
Hard Monte Carlo labels against the truth, by k, the number of completions per prefix: a wrong step is labelled + where any of k
completions is right, a right step − where none is. The shares are exact over all subsets of k of the audit set's completions.
Each distinct prefix counts once. Last steps, which are labelled by the solution's own grade, are left out.
"""


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Error rates of hard labels for every k up to the number of completions that each prefix has."""
    steps = audited_prefixes(results)
    right = steps["right"].to_numpy()
    rows = []
    for k in range(1, int(steps["count"].min()) + 1):
        any_hit = np.array([1 - comb(c - h, k) / comb(c, k) for h, c in zip(steps["hits"], steps["count"])])
        rows.append(
            {
                "k": k,
                "false_positive": any_hit[~right].mean(),
                "false_negative": (1 - any_hit[right]).mean(),
                "right_steps": int(right.sum()),
                "wrong_steps": int((~right).sum()),
            }
        )
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """A curve per kind of error."""
    figure = Figure(figsize=(5.6, 3.8))
    axis = figure.subplots()
    wrong, right = data["wrong_steps"].iloc[0], data["right_steps"].iloc[0]
    for column, colour, marker, label in (
        ("false_positive", "#D55E00", "o", f"wrong steps labelled + (of {wrong})"),
        ("false_negative", "#0072B2", "s", f"right steps labelled − (of {right})"),
    ):
        axis.plot(data["k"], 100 * data[column], color=colour, marker=marker, markersize=4, label=label)
    axis.set_xlabel("k, completions per prefix")
    axis.set_ylabel("wrong labels, %")
    axis.set_xticks(sorted({1, *range(4, int(data["k"].max()) + 1, 4)}))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.25)
    legend_below(figure, axis, 1)
    return figure
