"""The main table's accuracies as one nested JSON object: what `dvc metrics` shows and compares between experiments."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from pqm import formats
from pqm.errors import PqmError

KEYS = ("policy", "benchmark", "backbone", "method")


def write_headline(table: Path, output: Path) -> None:
    """Write {policy: {benchmark: {backbone: {method: accuracy at the largest n}}}} of the CSV `table`.

    References at their own n, such as pass@1, are kept at their largest.

    Raises:
        PqmError: the table is missing or has not the main table's columns.
    """
    try:
        rows = pd.read_csv(table)
    except FileNotFoundError:
        raise PqmError(f"{table}: missing; expected the main table") from None
    except (OSError, ValueError) as error:
        raise PqmError(f"{table}: cannot be read as the main table ({str(error).splitlines()[0]})") from None
    missing = [column for column in (*KEYS, "n", "accuracy") if column not in rows]
    if missing:
        raise PqmError(f"{table}: no column {missing[0]!r}; expected the main table")
    headline: dict[str, Any] = {}
    for *parents, method, accuracy in rows.sort_values("n", kind="stable")[[*KEYS, "accuracy"]].itertuples(index=False):
        node = headline
        for key in parents:
            node = node.setdefault(str(key), {})
        node[str(method)] = float(accuracy)
    with formats.whole_file(output) as part:
        part.write_text(json.dumps(headline, indent=2, sort_keys=True) + "\n")
