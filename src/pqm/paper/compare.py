"""Two builds of a study: are their tables equal, or do they differ no more than rebuilds do?

A rebuild with another seed of the pretrainings has other numbers. A row of a build is *within* what another build says if its
estimate is inside the other's interval, and else *outside*. A build is different if more of its rows are outside than of any rebuild
that is held against another one.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from pqm.errors import PqmError

# Tables that every rebuild keeps. They decide; the others are only counted.
DECIDING = ("main", "differences")
PRINTED_DIGITS = 6  # of the tables


@dataclass(frozen=True)
class Agreement:
    """How the rows of a table agree with those of another build."""

    equal: int = 0
    within: int = 0
    outside: int = 0
    missing: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.equal + self.within + self.outside + self.missing

    @property
    def share(self) -> float:
        """The share of rows that are outside, or that only one build has."""
        return (self.outside + self.missing) / max(1, self.rows)

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(*(one + another for one, another in zip(vars(self).values(), vars(other).values())))


def agreement(ours: pd.DataFrame, theirs: pd.DataFrame) -> Agreement:
    """Hold the rows of a table against those of another build.

    Rows are equal if their estimates and intervals have the same printed digits. Tables without intervals have no rows.
    """
    if "low" not in ours or "low" not in theirs:
        return Agreement()
    estimate = ours.columns[list(ours.columns).index("low") - 1]
    before = list(ours.columns[: list(ours.columns).index(estimate)])
    keys = [column for column in before if not pd.api.types.is_float_dtype(ours[column])]
    values = [estimate, "low", "high"]
    joined = ours[keys + values].merge(theirs[keys + values], on=keys, how="outer", suffixes=("", " of theirs"), indicator=True)
    both = joined[joined["_merge"] == "both"]
    mine, other = both[values].to_numpy(float), both[[f"{column} of theirs" for column in values]].to_numpy(float)
    equal = np.isclose(mine, other, rtol=0, atol=10.0**-PRINTED_DIGITS, equal_nan=True).all(axis=1)
    inside = ~equal & (mine[:, 0] >= other[:, 1]) & (mine[:, 0] <= other[:, 2])
    return Agreement(int(equal.sum()), int(inside.sum()), int((~equal & ~inside).sum()), len(joined) - len(both))


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables in a folder, by name.

    Raises:
        PqmError: there is none, or one is no table.
    """
    found = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            found[path.stem] = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise PqmError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    if not found:
        raise PqmError(f"{folder}: no tables; expected CSV files, such as main.csv")
    return found


def deciding(ours: dict[str, pd.DataFrame], theirs: dict[str, pd.DataFrame]) -> Agreement:
    """The agreement of the deciding tables that both builds have."""
    names = [name for name in DECIDING if name in ours and name in theirs]
    return sum((agreement(ours[name], theirs[name]) for name in names), Agreement())


def worst_share(builds: list[dict[str, pd.DataFrame]]) -> float:
    """The largest share of rows outside, of one build held against another; NaN for fewer than two builds."""
    return max((deciding(one, other).share for one, other in permutations(builds, 2)), default=float("nan"))


@dataclass(frozen=True)
class Verdict:
    """How two builds agree.

    Attributes:
        by_table: of the tables that both builds have.
        decided: of the deciding tables.
        limit: the largest share of rows outside between rebuilds; NaN if it is not known.
    """

    by_table: dict[str, Agreement]
    decided: Agreement
    limit: float

    @property
    def different(self) -> bool:
        """Whether the builds differ by more than rebuilds do. Without rebuilds no one can say."""
        return self.decided.share > self.limit

    def __str__(self) -> str:
        total = sum(self.by_table.values(), Agreement())
        if total.equal == total.rows:
            return f"equal: all {total.rows:,} rows of {len(self.by_table)} tables have the same digits"
        share = f"{self.decided.share:.1%} of the rows of {' and '.join(DECIDING)} are outside the other build's intervals"
        if np.isnan(self.limit):
            return f"not equal: {share}; there are fewer than two rebuilds, so it is not known how many may be"
        word = "different" if self.different else "a rebuild"
        return f"{word}: {share}; between rebuilds it is at most {self.limit:.1%}"


def compare(ours: Path, theirs: Path, rebuilds: Path) -> Verdict:
    """Hold the tables in a folder against those of another build.

    Args:
        rebuilds: the folder with one folder of tables per rebuild.

    Raises:
        PqmError: a folder has no tables, or the two have none in common.
    """
    mine, other = tables_of(ours), tables_of(theirs)
    common = {name: agreement(mine[name], other[name]) for name in mine if name in other}
    if not any(one.rows for one in common.values()):
        raise PqmError(f"{ours} and {theirs} have no table with intervals in common")
    builds = [tables_of(folder) for folder in sorted(rebuilds.glob("*/")) if folder.is_dir()]
    return Verdict({name: one for name, one in common.items() if one.rows}, deciding(mine, other), worst_share(builds))


@contextmanager
def committed(revision: str, folder: Path) -> Iterator[Path]:
    """A copy of a folder's tables as they are in a git revision.

    Raises:
        PqmError: there is no git, or the revision has no such tables.
    """
    listed = _git("ls-tree", "--name-only", revision, f"{folder.as_posix()}/")
    names = [name for name in listed.splitlines() if name.endswith(".csv")]
    if not names:
        raise PqmError(f"{revision} of git has no tables in {folder}")
    with tempfile.TemporaryDirectory() as copy:
        for name in names:
            Path(copy, Path(name).name).write_text(_git("show", f"{revision}:{name}"), encoding="utf-8")
        yield Path(copy)


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise PqmError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        raise PqmError(f"git: {error.stderr.strip().splitlines()[0] if error.stderr.strip() else 'failed'}") from None
