"""Finding the first errors that people annotated."""

from collections.abc import Sequence

import pandas as pd

from pqm.paper.first_error_rows import first_error_row, first_error_table
from pqm.paper.results import Results
from pqm.paper.rows import in_order
from pqm.paper.table import Table
from pqm.paper.truth import with_truth

TITLE = "Finding human-annotated first errors"
NEEDS = ("annotated", "scores", "validation", "validation labels")
CAPTION = """
F1 of finding the first wrong step that people annotated, as ProcessBench defines it. It is the harmonic mean of two shares: how
many of the wrong solutions have their first wrong step found, and how many of the correct solutions have no step flagged. The
first step that scores below a threshold is flagged. The threshold is the one with the highest F1 on the validation questions,
where the first step with a hard Monte Carlo label of 0 counts as the first wrong step. Means over training seeds, with
intervals over questions and seeds.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """F1 on annotated solutions, with thresholds from Monte Carlo labels of the validation set."""
    rows = [
        {"backbone": results.run(run).backbone}
        | first_error_row(
            results,
            results.method(run),
            dataset,
            [
                (results.labelled(one, results.validation), with_truth(results.annotated(one, dataset), dataset))
                for one in results.scorers(run)
            ],
        )
        for dataset in results.evaluation.annotated
        for run in runs
    ]
    return first_error_table(in_order(results, pd.DataFrame(rows)), ["backbone", "method"], "Solutions")
