"""Distributions of step scores by kind of step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pqm.estimation.estimators import area_under_curve
from pqm.paper.figure import LATER_WRONG, RIGHT, STEP_COLOURS, legend_below
from pqm.paper.results import Results
from pqm.paper.step_scores import steps_by_kind
from pqm.paper.style import in_print_order, printed

TITLE = "Scores of right and wrong steps"
NEEDS = ("scores",)
CAPTION = """
Distribution of step scores on the distinct benchmark solutions, for truly right steps, the first wrong step and the steps after
it, per loss. Training seeds are pooled, and the outermost bins include all values beyond them. AUC is the chance that a right
step scores above a first wrong one, mean over seeds. ORM is trained at last steps only, not to score the others.
"""
BINS = 48


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Histograms of step scores by method and kind of step, and the chance that a right step scores above a first wrong one."""
    steps = {run: steps_by_kind(results, run) for run in runs}
    reach = np.ceil(max(part["score"].abs().quantile(0.999) for part in steps.values()))
    edges = np.linspace(-reach, reach, BINS + 1)
    rows = []
    for run, part in steps.items():
        auc = _area_under_curve(part)
        for kind, group in part.groupby("kind"):
            counts, _ = np.histogram(np.clip(group["score"], -reach, reach), edges)
            key = {"method": results.method(run), "kind": kind}
            rows += [
                key | {"low": low, "high": high, "share": share, "steps": len(group), "auc": auc}
                for low, high, share in zip(edges, edges[1:], counts / len(group))
            ]
    return pd.DataFrame(rows)


def _area_under_curve(steps: pd.DataFrame) -> float:
    """Mean over training seeds."""
    seeds = [seed for _, seed in steps[steps["kind"] != LATER_WRONG].groupby("seed")]
    return float(np.mean([area_under_curve(seed["score"].to_numpy(), (seed["kind"] == RIGHT).to_numpy()) for seed in seeds]))


def draw(data: pd.DataFrame) -> Figure:
    """A panel per method, three to a row."""
    methods = in_print_order(data["method"])
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows + 0.5))
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axis, method in zip(axes.flat, methods):
        part = data[data["method"] == method]
        for kind, colour in STEP_COLOURS.items():
            line = part[part["kind"] == kind]
            edges = [*line["low"], line["high"].iloc[-1]]
            axis.stairs(100 * line["share"], edges, color=colour, linewidth=1.4, label=f"{kind} steps")
        axis.set_title(f"{printed(method)}: AUC {part['auc'].iloc[0]:.3f}", fontsize=10)
        axis.grid(alpha=0.25)
    for axis in axes[:, 0]:
        axis.set_ylabel("steps, %")
    for axis in axes[-1]:
        axis.set_xlabel("step score, logit")
    for axis in list(axes.flat)[len(methods) :]:
        axis.axis("off")
    legend_below(figure, axes[0][0], 3)
    return figure
