"""Assumption 3.1: completions after right and after wrong prefixes."""

from collections.abc import Sequence
from math import comb

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pqm.estimation.intervals import accuracy_interval
from pqm.paper.audit import audit_by_truth_or_labels, distinct_prefixes
from pqm.paper.figure import FIRST_WRONG, LEAST_STEPS, RIGHT, STEP_COLOURS, legend_below
from pqm.paper.results import Results

TITLE = "Assumption 3.1"
NEEDS = ("audit",)
CAPTION = """
Assumption 3.1 in the study: the share of the completer's completions that reach the right answer, from right and from wrong
prefixes of the audit set, by the prefix's length, with intervals over questions. Each distinct prefix counts once. Whole
solutions, which have no completions, are left out, and so are lengths with fewer than ten prefixes. Where the truth of a prefix
is unknown, the figure says "labelled": a prefix is labelled right if any of one half of its completions is right, as for hard
Monte Carlo labels, and the share is that of the other half, averaged over all ways to halve them.
"""
COLUMNS = ["step", "right", "judged_by", "share", "low", "high", "prefixes"]
TRUTH, LABELS = "truth", "labels"


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The share of right completions by the prefix's length and by whether it is right; `prefixes` is their (expected) number."""
    labelled, known = audit_by_truth_or_labels(results)
    steps = distinct_prefixes(labelled)
    steps = steps.assign(prefixes=1) if known else labelled_by_half(steps)
    rows = []
    for (step, right), group in steps.groupby(["step", "right"]):
        prefixes = group["prefixes"].sum()
        if prefixes < LEAST_STEPS:
            continue
        sums = group.groupby("question_id")[["hits", "count"]].sum()
        sums = sums[sums["count"] > 0].to_numpy(float).T
        share, low, high = map(float, accuracy_interval(sums[:1], sums[1], results.config.confidence))
        found = {"share": share, "low": low, "high": high, "prefixes": prefixes}
        rows.append({"step": step, "right": right, "judged_by": TRUTH if known else LABELS} | found)
    return pd.DataFrame(rows, columns=COLUMNS)


def labelled_by_half(prefixes: pd.DataFrame) -> pd.DataFrame:
    """Each prefix as labelled right and as labelled wrong by half of its completions, with hits and counts of the other half.

    A share among the completions that label a prefix would be 0 for every wrong prefix. `prefixes`, the chance of the label, and
    the expected hits and counts are exact over all halves. A prefix with a single completion is left out.
    """
    rows = []
    for prefix in prefixes[prefixes["count"] > 1].itertuples():
        hits, count = prefix.hits, prefix.count
        half = count // 2
        never = comb(count - hits, half) / comb(count, half)  # the chance that none of the first half is right
        for right, chance, rest in (
            (True, 1 - never, hits * ((count - half) / count - never)),
            (False, never, hits * never),
        ):
            row = {"question_id": prefix.question_id, "step": prefix.step, "right": right, "prefixes": chance}
            rows.append(row | {"hits": rest, "count": chance * (count - half)})
    return pd.DataFrame(rows, columns=["question_id", "step", "right", "prefixes", "hits", "count"])


def draw(data: pd.DataFrame) -> Figure:
    """Bars side by side for right and wrong prefixes."""
    figure = Figure(figsize=(5.6, 3.8))
    axis = figure.subplots()
    which = "prefix labelled {}" if LABELS in set(data["judged_by"]) else "{} prefix"
    for right, offset, name in ((True, -0.18, RIGHT), (False, 0.18, FIRST_WRONG)):
        part = data[data["right"] == right]
        x, heights = part["step"] + offset, 100 * part["share"]
        spread = 100 * np.clip([part["share"] - part["low"], part["high"] - part["share"]], 0, None)
        axis.bar(x, heights, 0.34, color=STEP_COLOURS[name], label=f"after a {which.format('right' if right else 'wrong')}")
        axis.errorbar(x, heights, spread, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    axis.set_xlabel("steps of the prefix")
    axis.set_ylabel("right completions, %")
    axis.set_xticks(sorted(set(data["step"])))
    axis.set_ylim(0, 105)
    legend_below(figure, axis, 2)
    return figure
