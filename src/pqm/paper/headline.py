"""The main table in a few numbers: what `dvc metrics` shows and compares between experiments."""

import json
from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.io import formats

SHOWN = ("pass@1", "self-consistency", "backbone-likelihood", "step-classifier", "bce", "pqm-zeta4")


def write_headline(table: Path, output: Path) -> None:
    """Write {n, method: accuracy, ..}: the mean over all cells of the CSV `table` at its largest n.

    pass@1 is at n = 1. Methods that the table lacks are left out; `pqm-zeta4 - bce` is the difference of the two.

    Raises:
        PqmError: the file is missing or is not a main table.
    """
    try:
        rows = pd.read_csv(table)
    except FileNotFoundError:
        raise PqmError(f"{table}: missing; expected the main table") from None
    except (OSError, ValueError) as error:
        raise PqmError(f"{table}: cannot be read as the main table ({str(error).splitlines()[0]})") from None
    missing = [column for column in ("policy", "benchmark", "method", "n", "accuracy") if column not in rows]
    if missing:
        raise PqmError(f"{table}: no column {missing[0]!r}; expected the main table")
    largest = int(rows["n"].max())
    at_largest = rows[(rows["n"] == largest) | (rows["method"] == "pass@1")]
    means = at_largest.groupby("method")["accuracy"].mean()
    headline: dict[str, float] = {"n": largest} | {method: round(means[method], 4) for method in SHOWN if method in means}
    if {"bce", "pqm-zeta4"} <= set(means.index):
        headline["pqm-zeta4 - bce"] = round(means["pqm-zeta4"] - means["bce"], 4)
    with formats.whole_file(output) as part:
        part.write_text(json.dumps(headline, indent=2) + "\n")
