"""Whether two builds are equal, rebuilds, or different."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pqm.cli.__main__ import app
from pqm.paper.compare import Agreement, agreement, compare, tables_of, worst_share

ROOT = Path(__file__).parents[2]
MAIN = pd.read_csv(ROOT / "results/demo/tables/main.csv")
DIFFERENCES = pd.read_csv(ROOT / "results/demo/tables/differences.csv")
TRAINED = ["orm", "mse-hard", "mse-soft", "bce", "pqm-zeta2", "pqm-zeta4"]


def write(folder: Path, main: pd.DataFrame, differences: pd.DataFrame = DIFFERENCES) -> Path:
    folder.mkdir(parents=True)
    main.to_csv(folder / "main.csv", index=False, float_format="%.6f")
    differences.to_csv(folder / "differences.csv", index=False, float_format="%.6f")
    return folder


def moved(seed: int, points: float = 0.04) -> pd.DataFrame:
    """The main table of a rebuild: each method in each cell moves by some points."""
    random = np.random.default_rng(seed)
    table = MAIN.copy()
    keys = table.groupby(["policy", "benchmark", "method"]).ngroup()
    shift = random.normal(0, points, keys.max() + 1)[keys]
    for column in ("accuracy", "low", "high"):
        table[column] = (table[column] + shift).clip(0, 1)
    return table


@pytest.fixture
def rebuilds(tmp_path: Path) -> Path:
    for seed in range(5):
        write(tmp_path / "rebuilds" / str(seed), moved(seed))
    return tmp_path / "rebuilds"


def test_rows_by_hand() -> None:
    columns = ["method", "n", "accuracy", "low", "high", "seeds"]
    ours = pd.DataFrame([["a", 1, 0.5, 0.4, 0.6, 3], ["a", 8, 0.55, 0.5, 0.6, 3], ["b", 1, 0.61, 0.5, 0.7, 3]], columns=columns)
    theirs = pd.DataFrame([["a", 1, 0.5, 0.4, 0.6, 3], ["a", 8, 0.5, 0.4, 0.56, 1], ["c", 1, 0.1, 0.0, 0.2, 3]], columns=columns)
    assert agreement(ours, theirs) == Agreement(equal=1, within=1, outside=0, missing=2)
    assert agreement(theirs, ours) == Agreement(equal=1, within=1, outside=0, missing=2)
    theirs.loc[1, ["accuracy", "low", "high"]] = [0.3, 0.2, 0.4]
    assert agreement(ours, theirs).outside == 1 and agreement(ours, theirs).share == 0.75
    assert agreement(ours.drop(columns=["low", "high"]), theirs) == Agreement()


def test_unknown_intervals_are_equal_to_themselves() -> None:
    table = pd.DataFrame([["a", np.nan, np.nan, np.nan]], columns=["method", "accuracy", "low", "high"])
    assert agreement(table, table) == Agreement(equal=1)


def test_the_same_tables_are_equal(tmp_path: Path, rebuilds: Path) -> None:
    one, other = write(tmp_path / "one", MAIN), write(tmp_path / "other", MAIN)
    verdict = compare(one, other, rebuilds)
    assert str(verdict) == f"equal: all {len(MAIN) + len(DIFFERENCES):,} rows of 2 tables have the same digits"
    assert not verdict.different


def test_a_further_rebuild_is_one(tmp_path: Path, rebuilds: Path) -> None:
    verdict = compare(write(tmp_path / "new", moved(17)), rebuilds / "0", rebuilds)
    assert not verdict.different and str(verdict).startswith("a rebuild: ") and 0 < verdict.decided.share <= verdict.limit


def test_a_build_with_shuffled_labels_is_different(tmp_path: Path, rebuilds: Path) -> None:
    table = MAIN.copy()
    cells = ["policy", "benchmark", "n"]
    chosen_at_random = table[table["method"] == "random"].set_index(cells)["accuracy"]
    for column in ("accuracy", "low", "high"):  # what a model that learned nothing chooses
        known = pd.Series([chosen_at_random.get(tuple(row)) for row in table[cells].itertuples(index=False)], dtype=float)
        rows = table["method"].isin(TRAINED) & known.notna() & (table["n"] > 1)
        table.loc[rows, column] = known[rows] + (table.loc[rows, column] - table.loc[rows, "accuracy"]) * (column != "accuracy")
    verdict = compare(write(tmp_path / "shuffled", table), rebuilds / "0", rebuilds)
    assert verdict.different and str(verdict).startswith("different: ")


def test_without_rebuilds_there_is_no_limit(tmp_path: Path, rebuilds: Path) -> None:
    verdict = compare(rebuilds / "1", rebuilds / "0", tmp_path / "nothing")
    assert not verdict.different and "fewer than two rebuilds" in str(verdict)
    assert np.isnan(worst_share([tables_of(rebuilds / "0")]))


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["paper", "compare", *map(str, arguments)])
        return done.exit_code, done.output + (str(done.exception) if done.exception else "")

    return call


def test_the_command_says_so_and_exits_with_1(run: Run, tmp_path: Path, rebuilds: Path) -> None:
    far = write(tmp_path / "far", moved(3, points=0.5))
    code, said = run(rebuilds / "1", far, "--rebuilds", rebuilds)
    assert code == 1 and f"Compared with {rebuilds / '1'}: different: " in said
    assert "main: " in said and "differences: 161 equal, 0 within, 0 outside, 0 in one build only" in said
    assert run(rebuilds / "1", far, "--rebuilds", rebuilds, "--no-judge")[0] == 0
    assert run(rebuilds / "1", rebuilds / "2", "--rebuilds", rebuilds)[0] == 0


def test_tables_of_a_revision(run: Run, tmp_path: Path) -> None:
    tables = write(tmp_path / "results/demo/tables", MAIN)
    code, said = run("HEAD", "results/demo/tables", "--no-judge")
    assert code == 0 and said.startswith("Not compared with HEAD: git: fatal: not a git repository")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    moved(1).to_csv(tables / "main.csv", index=False)
    code, said = run("HEAD", "results/demo/tables")
    assert code == 0 and "Compared with HEAD: not equal: " in said
    code, said = run("HEAD", "results/tiny/tables")
    assert code == 1 and "HEAD of git has no tables in results/tiny/tables" in said


def test_a_folder_without_tables_is_refused(run: Run, tmp_path: Path, rebuilds: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, said = run(rebuilds / "0", "empty")
    assert code == 1 and "empty: no tables; expected CSV files, such as main.csv" in said
    (tmp_path / "empty/main.csv").write_text("")
    assert "main.csv: cannot be read as a table" in run(rebuilds / "0", "empty")[1]
