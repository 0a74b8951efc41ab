"""Published solutions on which the graders and the publishers disagree."""

from collections.abc import Sequence

import pandas as pd

from pqm.paper.published import disagreements
from pqm.paper.results import Results
from pqm.paper.table import Table

TITLE = "Published solutions on which graders disagree"
NEEDS = ("solutions",)
CAPTION = """
GSM8K's published solutions on which ``math-verify``, the authors' rules and the publishers' verdict do not all agree, with the
stated and the gold answer and who is right.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per solution."""
    parts = [
        disagreements(results.solution_grades(name), results.questions(item.dataset), results.solution_file(name))
        for name, item in results.settings.solutions.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return Table(rows, rows.map(str))
