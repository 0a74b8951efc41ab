"""Calibration of step scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pqm.estimation.estimators import probability
from pqm.paper.figure import LEAST_STEPS, RIGHT, legend_below
from pqm.paper.results import Results
from pqm.paper.step_scores import steps_by_kind
from pqm.paper.style import in_print_order, style

TITLE = "Calibration"
NEEDS = ("scores",)
CAPTION = """
The share of truly right steps against the mean of sigma, for the benchmark steps with sigma of the score in each tenth of [0, 1];
the legend has the expected calibration error. Tenths with fewer than ten steps are not drawn. Ranking losses determine the order
of scores and not their level, so they do not aim at calibration. ORM is trained at last steps only.
"""


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Of the steps with a score in each tenth of sigma, how many are right, and the expected calibration error."""
    rows = []
    for run in runs:
        steps = steps_by_kind(results, run)
        chance, right = probability(steps["score"].to_numpy()), (steps["kind"] == RIGHT).to_numpy()
        tenths = np.minimum((10 * chance).astype(int), 9)
        error = sum(
            abs(chance[tenths == tenth].mean() - right[tenths == tenth].mean()) * (tenths == tenth).mean()
            for tenth in set(tenths.tolist())
        )
        for tenth in sorted(set(tenths.tolist())):
            inside = tenths == tenth
            if inside.sum() < LEAST_STEPS:
                continue
            rows.append(
                {
                    "method": results.method(run),
                    "predicted": chance[inside].mean(),
                    "right": right[inside].mean(),
                    "steps": int(inside.sum()),
                    "calibration_error": error,
                }
            )
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """A curve per method beside the diagonal."""
    figure = Figure(figsize=(5.4, 5.2))
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for method in in_print_order(data["method"]):
        line, look = data[data["method"] == method], style(method)
        label = f"{look.name}: {line['calibration_error'].iloc[0]:.2f}"
        axis.plot(line["predicted"], line["right"], color=look.colour, marker="o", markersize=4, label=label)
    axis.set_xlabel("σ of the step score")
    axis.set_ylabel("share of right steps")
    axis.set_aspect("equal")
    axis.grid(alpha=0.25)
    legend_below(figure, axis, 2)
    return figure
