"""The numbers of the demo, read from `results/demo`."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pandas as pd

PROCESS = ["mse-hard", "mse-soft", "bce", "pqm-zeta2", "pqm-zeta4"]
TRAINED = ["orm", *PROCESS]
BENCHMARKS = ("test", "perturbed")
LIKELIHOOD = "backbone-likelihood"


class Demo:
    """The CSV files of a study's results; numbers of tables are in percent or percentage points.

    Args:
        folder: the study's results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.csv = cache(self._csv)

    def _csv(self, path: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{path}.csv")

    @property
    def cells(self) -> list[tuple[str, str]]:
        main = self.csv("tables/main")
        return list(dict.fromkeys(zip(main["policy"], main["benchmark"])))

    def row(self, table: str, **keys: object) -> pd.Series:
        """The only row of a table with these values, with numbers in percent."""
        rows = self.csv(f"tables/{table}")
        for key, value in keys.items():
            rows = rows[rows[key] == value]
        assert len(rows) == 1, f"{table}: {len(rows)} rows with {keys}"
        row = rows.iloc[0].copy()
        for name in {"accuracy", "low", "high", "f1", "difference"} & set(rows):
            row[name] = 100 * row[name]
        return row

    def accuracy(self, method: str, cell: tuple[str, str], n: int = 64) -> float:
        """The accuracy of a method in a cell of the main table."""
        n = 1 if method == "pass@1" else n
        return float(self.row("main", policy=cell[0], benchmark=cell[1], method=method, n=n)["accuracy"])

    def mean(self, method: str, n: int = 64) -> float:
        """The mean accuracy of a method over the cells."""
        return sum(self.accuracy(method, cell, n) for cell in self.cells) / len(self.cells)

    def medium(self, table: str, benchmark: str, n: int = 64, **keys: object) -> pd.Series:
        """A row of an ablation, of the medium policy."""
        return self.row(table, policy="medium", benchmark=benchmark, n=n, **keys)

    def difference(self, method: str, reference: str) -> pd.Series:
        """A test over all cells together."""
        return self.row("differences", family="all", method=method, reference=reference)

    def cost(self, stage: str) -> pd.Series:
        """The cost of a stage."""
        return self.csv("tables/cost").set_index("stage").loc[stage]


def one(value: float) -> str:
    """A number with one decimal."""
    return f"{value:.1f}".replace("-0.0", "0.0")


def with_interval(row: pd.Series, key: str = "accuracy") -> str:
    return f"{one(row[key])} [{one(row['low'])}, {one(row['high'])}]"


def between(values: Iterable[float], digits: int = 0) -> tuple[str, str]:
    """The least and the greatest of some numbers."""
    numbers = list(values)
    return f"{min(numbers):.{digits}f}", f"{max(numbers):.{digits}f}"


def overlap(rows: Iterable[pd.Series]) -> bool:
    """Whether all intervals overlap each other."""
    listed = list(rows)
    return max(row["low"] for row in listed) < min(row["high"] for row in listed)


def aggregation_means(demo: Demo) -> pd.DataFrame:
    """Accuracy in percent at n = 64, mean over the policies: one row per benchmark and method, one column per aggregation."""
    table = demo.csv("tables/aggregations")
    table = table[table["n"] == 64].assign(
        share=lambda rows: 100 * rows["minimum_is_last"], accuracy=lambda rows: 100 * rows["accuracy"]
    )
    keys = ["benchmark", "method"]
    wide = table.groupby([*keys, "aggregation"], sort=False)["accuracy"].mean().unstack()
    return wide.assign(share=table.groupby(keys)["share"].mean())


def by_method(demo: Demo, figure: str, column: str) -> dict[str, float]:
    """The number that a figure shows for each method."""
    return demo.csv(f"figures/{figure}").groupby("method")[column].first().to_dict()


# ---------------------------------------------------------------- sentences

Values = tuple[str, ...]
# A sentence with {} for its numbers, and the function that computes them: None if the sentence is not true.
Claim = tuple[str, Callable[[Demo], Values | None]]


def says(*values: str, when: bool = True) -> Values | None:
    """The numbers of a sentence, if it is true."""
    return values if when else None
