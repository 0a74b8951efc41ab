"""Tables of accuracy against n."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pqm.estimation.statistics import summarise
from pqm.paper.results import Results
from pqm.paper.rows import in_order, percent
from pqm.paper.style import printed


def own_aggregation(metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics of each method by its own aggregation, which is its first."""
    first = metrics.groupby(["method", "backbone"], sort=False)["aggregation"].transform("first")
    return metrics[metrics["aggregation"] == first]


def summary(results: Results, metrics: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with intervals of every policy, benchmark, method and n, in order, each method by its own aggregation."""
    return in_order(results, summarise(own_aggregation(metrics), results.config.confidence))


def wide(rows: pd.DataFrame, keys: Sequence[str], letters: Mapping[tuple[str, ...], str] | None = None) -> pd.DataFrame:
    """Percentages with their intervals, one column per n, and the `letters` of a row, by its `keys`, at the largest n."""
    cells = rows.assign(cell=percent(rows))
    if letters:
        at_largest = cells["n"] == cells["n"].max()
        texts = [letters.get(tuple(key), "") for key in cells[list(keys)].itertuples(index=False)]
        cells["cell"] = [
            f"{cell} {text}" if text and largest else cell for cell, text, largest in zip(cells["cell"], texts, at_largest)
        ]
    order = cells[list(keys)].drop_duplicates()
    table = cells.pivot(index=list(keys), columns="n", values="cell").fillna("")
    table = table.loc[list(order.itertuples(index=False, name=None))]
    table.columns = [f"n = {n}" for n in table.columns]
    table = table.reset_index()
    table["method"] = table["method"].map(printed)
    return table
