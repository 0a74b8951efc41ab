"""Differences of methods, over rebuilds with other seeds of the pretrainings."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pqm.paper.rebuilds import differences, pooled, read_main_tables
from pqm.paper.results import Results
from pqm.paper.rows import percent
from pqm.paper.style import printed
from pqm.paper.table import Table

TITLE = "Differences over rebuilds"
NEEDS = ("rebuilds",)
CAPTION = """
Differences of best-of-n accuracy over all cells, in percentage points: the mean over rebuilds with other seeds of the
pretrainings, which have other policies, backbones, samples and labels. The interval is Student's t over the rebuilds; the
questions are the same in all of them. Between: the standard deviation between rebuilds. Detectable: the true difference that
these rebuilds show with a power of 80 %.
"""


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per pair of methods and n."""
    tables = read_main_tables(Path(results.layout.rebuilds))
    rows = differences(tables, [results.method(run) for run in runs])
    found = pooled(rows, results.config.confidence)
    wide = rows.pivot(index=["method", "reference", "n"], columns="rebuild", values="difference").reset_index()
    whole = found.merge(wide.rename(columns={seed: f"rebuild_{seed}" for seed in tables}), on=["method", "reference", "n"])
    shown = pd.DataFrame(
        {
            "method": found["method"].map(printed),
            "against": found["reference"].map(printed),
            "n": found["n"],
            "difference": percent(found, "difference", "+"),
            "between": [f"{100 * value:.1f}" for value in found["between"]],
            "detectable": [f"{100 * value:.1f}" for value in found["detectable"]],
        }
    )
    return Table(whole, shown, f"{len(tables)} rebuilds.")
