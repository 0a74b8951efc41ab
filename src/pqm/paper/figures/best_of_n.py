"""Accuracy of best-of-n against n."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.curves import curves
from pqm.paper.results import Results
from pqm.paper.style import in_print_order

TITLE = "Best-of-n against n"
NEEDS = ("table main",)
CAPTION = """
Accuracy of best-of-n against n for every sampling policy (columns, weakest first) and benchmark (rows). The bands are the
intervals of BCE and of PQM with margin 4. The other intervals and the likelihood under the policy are in the main table. pass@n
is the upper bound.
"""
BANDS = ("bce", "pqm-zeta4")


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The main table without votes by reward models."""
    table = results.table("main")
    return table[~table["method"].str.contains("+", regex=False) & (table["method"] != "pass@1")]


def draw(data: pd.DataFrame) -> Figure:
    """A curve per method."""
    methods = in_print_order(set(data["method"]) - {"policy-likelihood"})
    return curves(data, methods, [method for method in BANDS if method in methods], 4)
