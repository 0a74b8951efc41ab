"""One trajectory with its Monte Carlo labels and its Q values, as the paper's Figure 1."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.paper.audit import audit
from pqm.paper.figure import FIRST_WRONG, RIGHT, STEP_COLOURS
from pqm.paper.results import Results
from pqm.paper.style import printed

TITLE = "A trajectory and its Q values"
NEEDS = ("scores", "audit")
CAPTION = """
A trajectory, its Monte Carlo labels and its Q ranking: the paper's Figure 1 with a sampled solution of the audit set. Blue steps
are truly right, orange ones wrong. Beside each step are the number of completions from it that reach the right answer (for the
last step: its own grade) and the label. The bars are Q by PQM with margin 4, mean over training seeds. The solution is the one
with the most steps of its rarer kind, right or wrong, then the most balanced one, then the first: the choice uses no score.
"""
STEP_WIDTH = 62  # characters of a line that stay left of the bars


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The steps of one audited solution: their truth, Monte Carlo labels and Q by the first run."""
    solution = _choose(audit(results))
    scores = []
    for scorer in results.scorers(runs[0]):
        rows = results.solutions(scorer, results.audit)
        same = rows[(rows["question_id"] == solution.question_id) & (rows["steps"] == solution.steps)]
        scores.append(same["step_scores"].iloc[0])
    return pd.DataFrame(
        {
            "question": solution.prompt,
            "step": range(1, len(solution.truth) + 1),
            "text": list(solution.completions),
            "right": solution.truth,
            "hits": list(solution.hits),
            "count": list(solution.counts),
            "label": list(solution.labels),
            "q": np.mean(scores, axis=0),
            "method": results.method(runs[0]),
        }
    )


def _choose(labelled: pd.DataFrame) -> pd.Series:
    """The solution with the most steps of its rarer kind, by a rule that uses no score."""
    right, wrong = (labelled["truth"].map(lambda truth, kind=kind: truth.count(kind)) for kind in (True, False))
    ranked = labelled.assign(rarer=np.minimum(right, wrong), uneven=(right - wrong).abs())
    order = ["rarer", "uneven", "question_id", "policy"]
    return ranked.sort_values(order, ascending=[False, True, True, True], kind="stable").iloc[0]


def draw(data: pd.DataFrame) -> Figure:
    """The steps on the left, their Q on the right."""
    steps = len(data)
    figure = Figure(figsize=(10.5, 0.55 * steps + 1.8))
    text, bars = figure.subplots(1, 2, width_ratios=(1.7, 1))
    colours = [STEP_COLOURS[RIGHT] if right else STEP_COLOURS[FIRST_WRONG] for right in data["right"]]
    for axis in (text, bars):
        axis.set_ylim(steps + 0.2, -1.6)
    _draw_steps(text, data, colours)
    _draw_bars(bars, data, colours)
    figure.tight_layout()
    return figure


def _draw_steps(axis: Axes, data: pd.DataFrame, colours: Sequence[str]) -> None:
    """The question above, then each step in a box with its hits and its label."""
    axis.set_xlim(0, 1)
    axis.axis("off")
    question = data["question"].iloc[0]
    cut = question.rfind(" . ", 0, len(question) // 2 + 12) + 2
    axis.text(0, -1.1, f"{question[:cut]}\n{question[cut:].strip()}", fontsize=8.5, va="center")
    axis.text(0, -0.25, "right completions, label", fontsize=8, va="center", color="#555555")
    for place, (row, colour) in enumerate(zip(data.itertuples(), colours)):
        sign, box = "+" if row.label >= 0.5 else "−", {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour}
        axis.text(0.11, place + 0.5, f"{row.hits}/{row.count}  {sign}", fontsize=9.5, va="center", ha="right", color=colour)
        shown = textwrap.fill(row.text, STEP_WIDTH, subsequent_indent="     ")
        axis.text(0.16, place + 0.5, f"{row.step}   {shown}", fontsize=9, va="center", bbox=box)


def _draw_bars(axis: Axes, data: pd.DataFrame, colours: Sequence[str]) -> None:
    """A bar per step with its number."""
    places = np.arange(len(data)) + 0.5
    axis.barh(places, data["q"], 0.6, color=colours)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks([])
    axis.set_xlabel(f"Q of each step, {printed(data['method'].iloc[0])} (start: 0)")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    span = max(abs(data["q"])) or 1.0
    axis.set_xlim(-1.35 * span, 1.35 * span)
    for place, q in zip(places, data["q"]):
        outwards = 1 if q >= 0 else -1
        axis.text(q + 0.04 * outwards * span, place, f"{q:.2f}", fontsize=8.5, va="center", ha="left" if q >= 0 else "right")
