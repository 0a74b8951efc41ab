"""One trajectory with its Monte Carlo labels and its Q values, as the paper's Figure 1."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.paper.audit import audit_by_truth_or_labels
from pqm.paper.figure import FIRST_WRONG, RIGHT, STEP_COLOURS
from pqm.paper.results import Results
from pqm.paper.style import printed

TITLE = "A trajectory and its Q values"
NEEDS = ("scores", "audit")
CAPTION = """
A trajectory, its Monte Carlo labels and its Q ranking: the paper's Figure 1 with a sampled solution of the audit set. Blue steps
are right, orange ones wrong: by the truth where it is known, and otherwise by the labels, as the figure says. Beside each step
are the number of completions from it that reach the right answer (for the last step: its own grade) and the label. The bars are
Q by the reward model, mean over training seeds. The solution is the one with the most steps of its rarer kind, right or wrong,
then the most balanced one, then the first: the choice uses no score.
"""
QUESTION_WIDTH, STEP_WIDTH = 95, 66  # characters of a line that stay left of the bars
STEP_HEIGHT, LINE_HEIGHT = 0.55, 0.17  # inches: the least height of a step, and the height of a line of text


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The steps of one audited solution: whether each is right, its Monte Carlo labels and Q by the first run."""
    labelled, known = audit_by_truth_or_labels(results)
    solution = _choose(labelled)
    scores = []
    for scorer in results.scorers(runs[0]):
        rows = results.solutions(scorer, results.audit)
        same = rows[(rows["question_id"] == solution.question_id) & (rows["steps"] == solution.steps)]
        scores.append(same["step_scores"].iloc[0])
    return pd.DataFrame(
        {
            "question": solution.prompt,
            "step": range(1, len(solution.steps) + 1),
            "text": list(solution.completions),
            "right": solution.right,
            "judged_by": "truth" if known else "labels",
            "hits": list(solution.hits),
            "count": list(solution.counts),
            "label": list(solution.labels),
            "q": np.mean(scores, axis=0),
            "method": results.method(runs[0]),
        }
    )


def _choose(labelled: pd.DataFrame) -> pd.Series:
    """The solution with the most steps of its rarer kind, by a rule that uses no score."""
    right, wrong = (labelled["right"].map(lambda right, kind=kind: right.count(kind)) for kind in (True, False))
    ranked = labelled.assign(rarer=np.minimum(right, wrong), uneven=(right - wrong).abs())
    order = ["rarer", "uneven", "question_id", "policy"]
    return ranked.sort_values(order, ascending=[False, True, True, True], kind="stable").iloc[0]


def draw(data: pd.DataFrame) -> Figure:
    """The steps on the left, their Q on the right."""
    question = textwrap.wrap(data["question"].iloc[0], QUESTION_WIDTH)
    texts = [textwrap.wrap(f"{row.step}   {row.text}", STEP_WIDTH, subsequent_indent="     ") for row in data.itertuples()]
    height = max(STEP_HEIGHT, 0.05 + LINE_HEIGHT * max(map(len, texts)))  # of each step, in inches
    above = 0.5 + LINE_HEIGHT * len(question)
    figure = Figure(figsize=(10.5, height * len(data) + above + 0.8))
    text, bars = figure.subplots(1, 2, width_ratios=(1.7, 1))
    colours = [STEP_COLOURS[RIGHT] if right else STEP_COLOURS[FIRST_WRONG] for right in data["right"]]
    for axis in (text, bars):
        axis.set_ylim(len(data) + 0.2, -above / height)
    text.text(0, -above / height, "\n".join(question), fontsize=8.5, va="top", parse_math=False)
    _draw_steps(text, data, texts, colours)
    _draw_bars(bars, data, colours)
    figure.tight_layout()
    return figure


def _draw_steps(axis: Axes, data: pd.DataFrame, texts: Sequence[Sequence[str]], colours: Sequence[str]) -> None:
    """Each step in a box with its hits and its label."""
    axis.set_xlim(0, 1)
    axis.axis("off")
    legend = f"right completions, label; blue is right and orange wrong by the {data['judged_by'].iloc[0]}"
    axis.text(0, -0.25, legend, fontsize=8, va="center", color="#555555")
    for place, (row, lines, colour) in enumerate(zip(data.itertuples(), texts, colours)):
        sign, box = "+" if row.label >= 0.5 else "−", {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour}
        axis.text(0.11, place + 0.5, f"{row.hits}/{row.count}  {sign}", fontsize=9.5, va="center", ha="right", color=colour)
        axis.text(0.16, place + 0.5, "\n".join(lines), fontsize=9, va="center", bbox=box, parse_math=False)


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
