"""PQM with several margins."""

from collections.abc import Sequence

from pqm.paper.ablation import ablation
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Margins"
NEEDS = ("metrics",)
CAPTION = """
Best-of-n accuracy in percent of PQM with several margins zeta, with intervals, on the policies that all of these runs are
evaluated on. With one training seed an interval covers the uncertainty from the questions only.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """The runs of several margins."""
    return ablation(results, runs)
