"""The order of rows and the format of percentages, the same in every table."""

import pandas as pd

from pqm.paper.results import Results
from pqm.paper.style import in_print_order

NO_BACKBONE = "none"  # in metrics, of methods without a model


def in_order(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by benchmark and policy (the study's order), backbone (none, then that of the rows), method (print), and n."""
    evaluation = results.evaluation
    order = {
        "benchmark": [*evaluation.benchmarks, *evaluation.annotated],
        "policy": list(evaluation.policies),
        "backbone": list(dict.fromkeys([NO_BACKBONE, *rows.get("backbone", ())])),
        "method": in_print_order(rows.get("method", ())),
    }
    keys = [key for key in (*order, "n") if key in rows]
    return rows.sort_values(
        keys, key=lambda column: column.map(order[column.name].index) if column.name in order else column, kind="stable"
    ).reset_index(drop=True)


def percent(rows: pd.DataFrame, column: str = "accuracy", sign: str = "") -> list[str]:
    """Percentages with their intervals, `low` to `high`; with `sign` "+" positive ones have a sign, too."""
    number = f"{sign}.1f"
    return [
        f"{100 * value:{number}} [{100 * low:{number}}, {100 * high:{number}}]" if value == value else "not defined"
        for value, low, high in zip(rows[column], rows["low"], rows["high"])
    ]
