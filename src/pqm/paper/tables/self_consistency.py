"""Votes, reward models, and both together."""

from collections.abc import Sequence

from pqm.paper.accuracy import summary, wide
from pqm.paper.results import Results
from pqm.paper.style import OF_BACKBONE, SELF_CONSISTENCY
from pqm.paper.table import Table

TITLE = "With self-consistency"
NEEDS = ("metrics",)
CAPTION = """
Accuracy in percent, with intervals, of self-consistency (the most frequent answer of n samples), of reward models, and of both
together, where each sample's vote for its answer has the weight sigma of the sample's score. The backbone's likelihood and step
classifier need no reward training.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs with and without votes, beside votes alone and methods without reward training."""
    metrics = results.metrics(runs)
    alone = {results.method(run) for run in runs}
    methods = alone | {method + SELF_CONSISTENCY for method in alone} | {"self-consistency", *OF_BACKBONE}
    rows = summary(results, metrics[metrics["method"].isin(methods)])
    return Table(rows, wide(rows, ["benchmark", "policy", "method"]))
