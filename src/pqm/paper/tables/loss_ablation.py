"""The theoretical loss, PQM's and the one with a single negative."""

from collections.abc import Sequence

from pqm.paper.ablation import ablation
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Losses: Eq. 9, Eq. 10, Eq. 12"
NEEDS = ("metrics",)
CAPTION = """
Best-of-n accuracy in percent, with intervals, of the theoretical loss (Eq. 9, which also ranks the wrong steps), the practical
loss (Eq. 10, PQM) and the loss with the first wrong step as the only negative (Eq. 12), all with margin 4, on the policies that
all of these runs are evaluated on. With one training seed an interval covers the uncertainty from the questions only.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs of several losses."""
    return ablation(results, runs)
