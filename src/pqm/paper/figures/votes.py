"""Accuracy of votes and of reward models against n."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from pqm.paper.curves import curves
from pqm.paper.results import Results
from pqm.paper.style import in_print_order

TITLE = "With self-consistency, against n"
NEEDS = ("table self_consistency",)
CAPTION = """
Accuracy against n of self-consistency, of reward models, and of votes weighted by reward models (dashed, in the model's colour).
The band is the interval of self-consistency.
"""


def data(results: Results, runs: Sequence[str]) -> pd.DataFrame:
    """The self-consistency table."""
    return results.table("self_consistency")


def draw(data: pd.DataFrame) -> Figure:
    """A curve per method."""
    return curves(data, in_print_order(data["method"]), ["self-consistency"], 3)
