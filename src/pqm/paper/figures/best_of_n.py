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
Accuracy of best-of-n against n for every sampling policy (columns, in the study's order) and benchmark (rows). The bands are
the intervals of BCE and of PQM with margin 4. Black and grey lines need no reward training; among them are the backbone's
likelihood and its step classifier. pass@n is the upper limit. All intervals, and the policy's likelihood, are in the main
table.
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
