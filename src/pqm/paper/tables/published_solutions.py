"""Published solutions: majority vote, pass@n, and agreement of our grades."""

from collections.abc import Sequence

import pandas as pd

from pqm.paper.published import judged_solutions
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Published solutions of GSM8K"
NEEDS = ("solutions",)
CAPTION = """
GSM8K's published solutions by four models: the accuracy of each, majority vote and pass@n of the four together, and the share of
our grades that agree with the publishers' verdict.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per model and method."""
    parts = [
        judged_solutions(results.solution_grades(name), results.questions(item.dataset), results.solution_file(name))
        for name, item in results.settings.solutions.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return Table(rows, rows.assign(accuracy=rows["accuracy"].map("{:.4f}".format)))
