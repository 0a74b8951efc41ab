"""The theoretical loss, the practical one (PQM), and the one with a single negative."""

from collections.abc import Sequence

from pqm.paper.ablation import ablation
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Losses: Eq. 9, Eq. 10, Eq. 12"
NEEDS = ("metrics",)
CAPTION = """
Best-of-n accuracy in percent, with intervals, of three ranking losses: the theoretical loss (Eq. 9), which also ranks the wrong
steps; the practical loss (Eq. 10, PQM); and the loss whose only negative is the first wrong step (Eq. 12). All runs are
compared by the same training seeds, on the policies that all of them are evaluated on. pass@1 and the backbone's likelihood and
step classifier need no reward training.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs of several losses."""
    return ablation(results, runs)
