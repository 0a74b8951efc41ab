"""Every test behind the letters of the main table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pqm.paper.results import Results
from pqm.paper.rows import percent
from pqm.paper.significance import significance_note, significance_tests
from pqm.paper.style import printed
from pqm.paper.table import Table

TITLE = "Significance of the differences"
NEEDS = ("metrics",)
CAPTION = """
Each trained method against self-consistency, the backbone's likelihood, its step classifier and BCE at the largest n, in
percentage points: over all cells together (a question's mean over the policies, the questions of all benchmarks) and cell by
cell, which are the letters of the main table. Differences are paired over question clusters and, between methods with the same
number of training seeds, over seeds. Interval and p are Student's t: the variances of clusters and of seeds are added, and
their quantiles are averaged with the variances as weights. Intervals are not corrected. p is corrected by Holm; the tests over
all cells are one family, those cell by cell another. The difference that a test can detect is the median over its family, at
the first step of Holm's correction.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per test."""
    tests = significance_tests(results, results.metrics(runs), runs)
    shown = pd.DataFrame(
        {
            "benchmark": tests["benchmark"],
            "policy": tests["policy"],
            "method": tests["method"].map(printed),
            "against": tests["reference"].map(printed),
            "difference": percent(tests, "difference", "+"),
            "p": tests["p"].map(_p),
            "p, Holm": tests["p_holm"].map(_p),
            "significant": np.where(tests["holds"], "yes", ""),
        }
    )
    return Table(tests, shown, significance_note(results, tests))


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"
