"""Published numbers beside ours."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.losses.common.loss import read_method
from pqm.paper.results import Results
from pqm.paper.style import SELF_CONSISTENCY, WITHOUT_TRAINING, printed
from pqm.paper.table import Table

TITLE = "Published numbers"
NEEDS = ("reported", "table main")
LEFT_OUT_IF_EMPTY = True
CAPTION = """
Published numbers, each with its source, beside those that this study measured for the same policy, benchmark, method and n. Add
rows to ``config/reported.csv``; every row needs a source.
"""
REPORTED = Path("config/reported.csv")
KEYS = ["policy", "benchmark", "method", "n"]
COLUMNS = (*KEYS, "accuracy", "source")


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per published number of a policy, benchmark, method and n that this study measured, too."""
    reported = _reported()
    ours = results.table("main")[[*KEYS, "accuracy", "low", "high"]]
    rows = reported.merge(ours, on=KEYS, suffixes=("_reported", "_ours"))
    shown = rows[KEYS].assign(
        method=rows["method"].map(printed),
        reported=rows["accuracy_reported"].map(_percent),
        ours=rows["accuracy_ours"].map(_percent),
        interval=[f"[{_percent(low)}, {_percent(high)}]" for low, high in zip(rows["low"], rows["high"])],
        source=rows["source"],
    )
    return Table(rows, shown, f"This study measured {len(rows)} of {len(reported)} published numbers.")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _reported() -> pd.DataFrame:
    """The published numbers that users filled in.

    Raises:
        PqmError: the file or a column is missing, or a value is not what `EXPECTED` says.
    """
    try:
        reported = pd.read_csv(REPORTED)
    except (OSError, ValueError) as error:
        raise PqmError(f"{REPORTED}: missing or not CSV ({error}); expected columns {', '.join(COLUMNS)}") from None
    missing = [name for name in COLUMNS if name not in reported]
    if missing:
        raise PqmError(f"{REPORTED}: column {missing[0]!r} is missing; expected columns {', '.join(COLUMNS)}")
    for line, row in enumerate(reported.to_dict("records"), start=2):
        for key, (is_right, expected) in EXPECTED.items():
            if not is_right(row[key]):
                found = shortened(row[key]) if row[key] == row[key] else "nothing"
                raise PqmError(f"{REPORTED}: line {line}, {key}: expected {expected}, found {found}")
    return reported.astype({"n": float, "accuracy": float}).astype({"n": int})


def _is_method(value: object) -> bool:
    method = str(value).removesuffix(SELF_CONSISTENCY)
    return method in WITHOUT_TRAINING or read_method(method) is not None


def _is_count(value: Any) -> bool:
    number = _number(value)
    return number >= 1 and number % 1 == 0


def _is_share(value: Any) -> bool:
    return 0 <= _number(value) <= 1


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


EXPECTED = {
    "method": (_is_method, "a loss with its settings, such as pqm-zeta4, or a reference, such as self-consistency"),
    "n": (_is_count, "a number of samples"),
    "accuracy": (_is_share, "a share in [0, 1]"),
    "source": (_is_text, "where the number was read"),
}
