"""The same losses from several backbones."""

from collections.abc import Sequence

from pqm.paper.accuracy import seeds_note, summary, wide
from pqm.paper.results import Results
from pqm.paper.style import SELF_CONSISTENCY
from pqm.paper.table import Table

TITLE = "Backbones"
NEEDS = ("metrics",)
BY_BACKBONE = True
CAPTION = """
Best-of-n accuracy in percent of the same losses from several backbones, with intervals: the error-detecting backbone, an earlier
point of its training, and the plain language model. The language model has read wrong steps but was never trained to say whether
a step is right: it is the negative control. Votes and pass@1 need no backbone.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs backbone by backbone, beside pass@1 and self-consistency."""
    metrics = results.metrics(runs)
    trained = metrics[~metrics["method"].str.endswith(SELF_CONSISTENCY)]
    methods = {results.method(run) for run in runs} | {"pass@1", "self-consistency"}
    rows = summary(results, trained[trained["method"].isin(methods)])
    return Table(rows, wide(rows, ["benchmark", "policy", "backbone", "method"]), seeds_note(results, runs))
