"""Votes, reward models, and both together."""

from collections.abc import Sequence

from pqm.paper.accuracy import summary, wide
from pqm.paper.results import Results
from pqm.paper.style import SELF_CONSISTENCY
from pqm.paper.table import Table

TITLE = "With self-consistency"
NEEDS = ("metrics",)
CAPTION = """
Self-consistency (the most frequent answer of n), reward models, and both together: each vote for an answer is weighted by sigma
of the solution's score. Accuracy in percent, with intervals; votes are averaged over fresh random subsets per question.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs with and without votes, beside votes alone."""
    metrics = results.metrics(runs)
    alone = {results.method(run) for run in runs}
    methods = alone | {method + SELF_CONSISTENCY for method in alone} | {"self-consistency"}
    rows = summary(results, metrics[metrics["method"].isin(methods)])
    return Table(rows, wide(rows, ["benchmark", "policy", "method"]))
