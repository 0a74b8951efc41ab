"""PQM with several margins."""

from collections.abc import Sequence

from pqm.paper.ablation import ablation
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Margins"
NEEDS = ("metrics",)
CAPTION = """
Best-of-n accuracy in percent of PQM with several margins zeta, with intervals. All runs are compared by the same training
seeds, on the policies that all of them are evaluated on. pass@1 and the backbone's likelihood and step classifier need no
reward training.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs of several margins."""
    return ablation(results, runs)
