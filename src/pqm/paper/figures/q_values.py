"""Q by step, by Monte Carlo and by reward models, against the order of Theorem 3.5."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqm.estimation.intervals import Floats
from pqm.estimation.theory import violations
from pqm.paper.audit import audit, audited_prefixes
from pqm.paper.figure import FIRST_WRONG, LEAST_STEPS, RIGHT, STEP_COLOURS, legend_below
from pqm.paper.results import Results
from pqm.paper.style import printed

TITLE = "Theorem 3.5 in the study"
NEEDS = ("scores", "audit")
CAPTION = """
Q against the step for truly right and truly wrong steps of the audit set's long word problems: by Monte Carlo (logit of the share
of right completions from all prefixes of a place; last steps have none) and by reward models (mean score; scores are averaged
over training seeds first). By Theorem 3.5 the Q of right steps is above the start and rises, and that of wrong steps is below it
and falls. The title counts how many of its adjacent inequalities are reversed within single solutions. The start of PQM is 0 by
construction; BCE learns no start and is compared with the same 0. The start of Monte Carlo is unknown and left out, and ties are
no reversal. Some of its reversals are noise of the completions. Places with fewer than ten steps are not drawn.
"""
MONTE_CARLO = "Monte Carlo"
COLUMNS = ["source", "step", "right", "q", "steps", "violated", "inequalities"]


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """Mean Q of right and of wrong steps by their place, and reversals of the theorem's order, by source."""
    labelled = audit(results)
    rows = [row | _monte_carlo_reversals(labelled) for row in _monte_carlo_places(results)]
    for run in runs:
        parts = [results.solutions(scorer, results.audit) for scorer in results.scorers(run)]
        means = {
            (row.question_id, row.steps): np.mean([part.at[row.Index, "step_scores"] for part in parts], axis=0)
            for row in parts[0].itertuples()
        }
        rows += _model_places(results.method(run), labelled, means)
    return pd.DataFrame(rows, columns=COLUMNS)


def _monte_carlo_places(results: Results) -> list[dict[str, object]]:
    """Q of a place: the logit of its share of right completions."""
    places = []
    for (step, right), group in audited_prefixes(results).groupby(["step", "right"]):
        if len(group) >= LEAST_STEPS:
            hits, count = group["hits"].sum(), group["count"].sum()
            bounded = min(max(hits, 0.5), count - 0.5)  # half a completion from never and from always
            q = float(np.log(bounded / (count - bounded)))
            places.append({"source": MONTE_CARLO, "step": step, "right": right, "q": q, "steps": len(group)})
    return places


def _monte_carlo_reversals(labelled: pd.DataFrame) -> dict[str, int]:
    """Within each solution, without its last step (labelled by its own grade) and without the unknown start."""
    pairs = [violations(row.soft_labels[:-1], row.right[:-1]) for row in labelled.itertuples()]
    return {"violated": sum(one for one, _ in pairs), "inequalities": sum(many for _, many in pairs)}


def _model_places(
    method: str, labelled: pd.DataFrame, scores: Mapping[tuple[str, tuple[str, ...]], Floats]
) -> list[dict[str, object]]:
    """Q of a place: the mean of a model's scores."""
    pairs = []
    seen: dict[tuple[int, bool], list[float]] = {}
    for solution in labelled.itertuples():
        q = scores[solution.question_id, solution.steps]
        pairs.append(violations(q, solution.right, 0.0))
        for place, right in enumerate(solution.right):
            seen.setdefault((place + 1, right), []).append(float(q[place]))
    reversals = {"violated": sum(one for one, _ in pairs), "inequalities": sum(many for _, many in pairs)}
    return [
        {"source": method, "step": step, "right": right, "q": float(np.mean(qs)), "steps": len(qs)} | reversals
        for (step, right), qs in sorted(seen.items())
        if len(qs) >= LEAST_STEPS
    ]


def draw(data: pd.DataFrame) -> Figure:
    """A panel per source."""
    sources = list(dict.fromkeys(data["source"]))
    figure = Figure(figsize=(3.7 * len(sources), 4.2))
    axes = figure.subplots(1, len(sources), squeeze=False)
    for axis, source in zip(axes[0], sources):
        _draw_source(axis, source if source == MONTE_CARLO else printed(source), data[data["source"] == source])
    axes[0][0].set_ylabel("Q")
    legend_below(figure, axes[0][0], 2)
    return figure


def _draw_source(axis: Axes, name: str, part: pd.DataFrame) -> None:
    for right, kind in ((True, RIGHT), (False, FIRST_WRONG)):
        line = part[part["right"] == right]
        label = f"{'right' if right else 'wrong'} steps"
        axis.plot(line["step"], line["q"], color=STEP_COLOURS[kind], marker="o", markersize=4, label=label)
    axis.axhline(0, color="#999999", linewidth=1, linestyle=":")
    violated, inequalities = part["violated"].iloc[0], part["inequalities"].iloc[0]
    share = violated / max(1, inequalities)
    axis.set_title(f"{name}\n{violated} of {inequalities} inequalities reversed ({100 * share:.0f} %)", fontsize=9)
    axis.set_xlabel("step")
    axis.set_xticks(sorted(set(part["step"])))
    axis.grid(alpha=0.25)
