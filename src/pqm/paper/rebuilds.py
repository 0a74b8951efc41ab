"""Differences of methods over rebuilds, which have other policies and backbones than the study itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from pqm.errors import PqmError
from pqm.estimation.statistics import smallest_difference
from pqm.paper.style import OF_BACKBONE, in_print_order

SMALL_N = 8  # beside the largest n


def read_main_tables(folder: Path) -> dict[int, pd.DataFrame]:
    """The main table of each rebuild, by the seed that its folder is named after.

    Raises:
        PqmError: there are fewer than two.
    """
    tables = {int(path.parent.name): pd.read_csv(path) for path in folder.glob("*/main.csv")}
    if len(tables) < 2:
        raise PqmError(f"{folder}: {len(tables)} rebuilds; expected at least two, from `make rebuilds`")
    return dict(sorted(tables.items()))


def pairs(methods: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: PQM with BCE and with the ORM, and each trained method with those of the backbone."""
    trained = in_print_order(methods)
    pqm = [method for method in trained if method.startswith("pqm-zeta")]
    among = [(method, other) for method in pqm for other in ("bce", "orm") if other in trained]
    return [*among, *((method, other) for other in OF_BACKBONE for method in trained)]


def differences(tables: dict[int, pd.DataFrame], methods: Sequence[str]) -> pd.DataFrame:
    """One row per pair, n and rebuild: the difference of their accuracies over all cells.

    The accuracy over all cells is a question's mean over the policies, and the mean of all questions of all benchmarks.
    """
    rows = []
    for seed, table in tables.items():
        accuracy = over_all_cells(table)
        largest = int(table["n"].max())
        for method, reference in pairs(methods):
            for n in sorted({min(SMALL_N, largest), largest}):
                if (method, n) in accuracy.index and (reference, n) in accuracy.index:
                    value = float(accuracy[method, n] - accuracy[reference, n])
                    rows.append({"method": method, "reference": reference, "n": n, "rebuild": seed, "difference": value})
    return pd.DataFrame(rows)


def over_all_cells(table: pd.DataFrame) -> pd.Series:
    """The accuracy of each method and n of a main table, over all cells; benchmarks count by their questions."""
    by_benchmark = table.groupby(["method", "n", "benchmark"])[["accuracy", "questions"]].mean().reset_index()
    weighted = by_benchmark["accuracy"] * by_benchmark["questions"]
    sums = by_benchmark.assign(weighted=weighted).groupby(["method", "n"])[["weighted", "questions"]].sum()
    return sums["weighted"] / sums["questions"]


def pooled(rows: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """One row per pair and n: the mean over the rebuilds, its interval, and the smallest difference that they can show.

    A rebuild is a random effect: its difference contains what its policies, its backbone, its training seeds and its samples add.
    With one such value per rebuild, the interval is Student's t of their mean. The questions are the same in all rebuilds.
    """
    keys = ["method", "reference", "n"]
    found = []
    for key, values in rows.groupby(keys, sort=False)["difference"]:
        count, mean = len(values), float(values.mean())
        error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
        half = float(stats.t.isf((1 - confidence) / 2, count - 1)) * error
        assert isinstance(key, tuple)
        found.append(
            dict(zip(keys, key))
            | {"difference": mean, "low": mean - half, "high": mean + half, "rebuilds": count}
            | {"between": error * np.sqrt(count), "detectable": smallest_difference(error, count - 1, 1 - confidence)}
        )
    return pd.DataFrame(found)
