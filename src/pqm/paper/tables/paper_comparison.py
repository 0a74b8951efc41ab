"""Published numbers beside ours."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.results import Results
from pqm.paper.style import printed
from pqm.paper.table import Table

TITLE = "Published numbers"
NEEDS = ("reported", "table main")
CAPTION = """
Published numbers, each with its source, beside those of this study, where it has the same policy, benchmark, method and n. Add
rows to ``config/reported.csv``; every row needs a source.
"""
REPORTED = Path("config/reported.csv")
COLUMNS = ("policy", "benchmark", "method", "n", "accuracy", "source")


def table(results: Results, runs: Sequence[str]) -> Table:
    """One row per published number."""
    reported = _reported()
    ours = results.table("main")[["policy", "benchmark", "method", "n", "accuracy", "low", "high"]]
    keys = ["policy", "benchmark", "method", "n"]
    joined = reported.merge(ours, on=keys, how="left", suffixes=("_reported", "_ours"))
    measured = joined["accuracy_ours"].notna()
    shown = joined[keys].assign(
        method=joined["method"].map(printed),
        reported=joined["accuracy_reported"].map(lambda value: f"{100 * value:.1f}"),
        ours=[f"{100 * value:.1f}" if value == value else "not measured" for value in joined["accuracy_ours"]],
        interval=[f"[{100 * a:.1f}, {100 * b:.1f}]" if a == a else "" for a, b in zip(joined["low"], joined["high"])],
        source=joined["source"],
    )
    return Table(joined, shown, f"Measured in this study: {int(measured.sum())} of {len(joined)} rows.")


def _reported() -> pd.DataFrame:
    """The published numbers that users filled in.

    Raises:
        PqmError: the file or a column is missing, an accuracy is not in [0, 1], or a row has no source.
    """
    try:
        reported = pd.read_csv(REPORTED)
    except (FileNotFoundError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise PqmError(f"{REPORTED}: missing or not CSV ({error}); expected columns {', '.join(COLUMNS)}") from None
    missing = [name for name in COLUMNS if name not in reported]
    if missing:
        raise PqmError(f"{REPORTED}: column {missing[0]!r} is missing; expected columns {', '.join(COLUMNS)}")
    for line, row in enumerate(reported.itertuples(), start=2):
        if not isinstance(row.source, str) or not row.source.strip():
            raise PqmError(f"{REPORTED}: line {line}, source: expected where the number was read, found nothing")
        if not isinstance(row.accuracy, float) or not 0 <= row.accuracy <= 1:
            raise PqmError(f"{REPORTED}: line {line}, accuracy: expected a share in [0, 1], found {row.accuracy!r}")
    return reported
