"""Best-of-n by each aggregation of the step scores."""

from collections.abc import Sequence

import numpy as np

from pqm.estimation.estimators import AGGREGATIONS, aggregate_all
from pqm.estimation.statistics import summarise
from pqm.paper.results import Results
from pqm.paper.rows import in_order
from pqm.paper.style import SELF_CONSISTENCY, printed
from pqm.paper.table import Table

TITLE = "From step scores to a solution's score"
NEEDS = ("metrics", "scores")
CAPTION = """
Best-of-n accuracy in percent, mean over the policies, where the score of a solution is its lowest step logit, its last, the
product of sigma over its steps, or the mean of sigma; and how often the lowest step is the last one, among solutions of two or
more steps. ORM scores the last step only. The CSV has every policy and n with intervals.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """Accuracies by aggregation, with the share of solutions whose lowest step is the last."""
    metrics = results.metrics(runs, references=False)
    metrics = metrics[~metrics["method"].str.endswith(SELF_CONSISTENCY)]
    rows = in_order(results, summarise(metrics, results.config.confidence))
    last = {
        (results.method(run), benchmark, policy): _share_with_lowest_last(results, run, policy, benchmark)
        for run in runs
        for policy, benchmark in results.cells
    }
    rows["minimum_is_last"] = [last[row.method, row.benchmark, row.policy] for row in rows.itertuples()]
    largest = rows[rows["n"] == rows["n"].max()]
    means = largest.groupby(["benchmark", "method", "aggregation"], sort=False)["accuracy"].mean().unstack()
    shown = (100 * means[[name for name in AGGREGATIONS if name in means]]).map(
        lambda value: f"{value:.1f}" if value == value else ""
    )
    shares = largest.groupby(["benchmark", "method"], sort=False)["minimum_is_last"].mean()
    shown["minimum is the last step"] = [f"{100 * shares[key]:.0f} %" for key in shown.index]
    shown = in_order(results, shown.reset_index())
    shown["method"] = shown["method"].map(printed)
    return Table(rows, shown, f"Shown: n = {rows['n'].max()}.")


def _share_with_lowest_last(results: Results, run: str, policy: str, benchmark: str) -> float:
    """The share of solutions of two or more steps with the lowest score at the last step only, mean over training seeds."""
    shares = []
    for scorer in results.scorers(run):
        scores = [one for one in results.scores(scorer, policy, benchmark)["step_scores"] if len(one) > 1]
        shares.append(np.mean(aggregate_all(scores, "last") < aggregate_all([one[:-1] for one in scores], "min")))
    return float(np.mean(shares))
