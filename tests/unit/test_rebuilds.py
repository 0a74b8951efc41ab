"""Differences over rebuilds, and how rebuilds are made."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy import stats

from pqm.errors import PqmError
from pqm.paper.figures.rebuilds import draw
from pqm.paper.rebuilds import differences, over_all_cells, pairs, pooled, read_main_tables
from pqm.workflow import rebuilds

ROOT = Path(__file__).parents[2]


def main_table(bce: float, pqm: float) -> pd.DataFrame:
    """Two policies on two benchmarks of 100 and 50 questions; at n = 64 PQM is better on the second one by 0.2 more."""
    rows = []
    for policy in ("weak", "strong"):
        for benchmark, questions in (("test", 100), ("perturbed", 50)):
            for n in (1, 8, 64):
                more = 0.2 * (benchmark == "perturbed") * (n == 64)
                for method, accuracy in (("bce", bce), ("pqm-zeta4", pqm + more), ("step-classifier", 0.5)):
                    value = accuracy + 0.1 * (policy == "strong")
                    rows.append((policy, benchmark, method, n, value, questions))
    return pd.DataFrame(rows, columns=["policy", "benchmark", "method", "n", "accuracy", "questions"])


def test_accuracy_over_all_cells_by_hand() -> None:
    accuracy = over_all_cells(main_table(0.4, 0.6))
    assert accuracy["bce", 8] == pytest.approx(0.45)
    assert accuracy["pqm-zeta4", 64] == pytest.approx(0.65 + 0.2 * 50 / 150)


def test_accuracy_over_all_cells_is_that_of_the_committed_differences() -> None:
    accuracy = over_all_cells(pd.read_csv(ROOT / "results/demo/tables/main.csv"))
    tests = pd.read_csv(ROOT / "results/demo/tables/differences.csv")
    together = tests[tests["family"] == "all"]
    assert len(together) > 10
    for row in together.itertuples():
        found = accuracy[row.method, row.n] - accuracy[row.reference, row.n]
        # seeds that only one of the two has are left out of a paired test
        assert found == pytest.approx(row.difference, abs=0.004), (row.method, row.reference)


def test_pooled_differences_by_hand() -> None:
    tables = {0: main_table(0.4, 0.6), 1: main_table(0.5, 0.6), 2: main_table(0.4, 0.4)}
    rows = differences(tables, ["bce", "pqm-zeta4"])
    at_8 = rows[(rows["method"] == "pqm-zeta4") & (rows["reference"] == "bce") & (rows["n"] == 8)]["difference"].tolist()
    assert at_8 == pytest.approx([0.2, 0.1, 0.0])
    found = pooled(rows, 0.95).set_index(["method", "reference", "n"]).loc[("pqm-zeta4", "bce", 8)]
    error = 0.1 / np.sqrt(3)
    assert found["difference"] == pytest.approx(0.1) and found["between"] == pytest.approx(0.1)
    assert found["high"] - found["difference"] == pytest.approx(stats.t.isf(0.025, 2) * error)
    assert found["detectable"] == pytest.approx((stats.t.isf(0.025, 2) + stats.t.isf(0.2, 2)) * error)
    assert set(rows["n"]) == {8, 64} and found["rebuilds"] == 3


def test_what_is_compared() -> None:
    assert pairs(["pqm-zeta4", "bce", "orm"])[:2] == [("pqm-zeta4", "bce"), ("pqm-zeta4", "orm")]
    assert ("bce", "step-classifier") in pairs(["bce"]) and ("bce", "backbone-likelihood") in pairs(["bce"])


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    random, inside = np.random.default_rng(0), 0
    for _ in range(400):
        values = 0.03 + random.normal(0, 0.05, 6)
        rows = pd.DataFrame({"method": "a", "reference": "b", "n": 8, "difference": values})
        found = pooled(rows, 0.95).iloc[0]
        inside += found["low"] <= 0.03 <= found["high"]
    assert 370 <= inside <= 394


def test_one_rebuild_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    main_table(0.4, 0.6).to_csv(tmp_path / "3/main.csv", index=False)
    with pytest.raises(PqmError, match="1 rebuilds; expected at least two, from `make rebuilds`"):
        read_main_tables(tmp_path)
    (tmp_path / "11").mkdir()
    main_table(0.4, 0.6).to_csv(tmp_path / "11/main.csv", index=False)
    assert list(read_main_tables(tmp_path)) == [3, 11]


def test_the_figure_has_a_dot_per_rebuild() -> None:
    tables = {0: main_table(0.4, 0.6), 1: main_table(0.5, 0.6)}
    rows = differences(tables, ["bce", "pqm-zeta4"])
    keys = ["method", "reference", "n"]
    wide = rows.pivot(index=keys, columns="rebuild", values="difference").reset_index()
    figure = draw(pooled(rows, 0.95).merge(wide.rename(columns={0: "rebuild_0", 1: "rebuild_1"}), on=keys))
    assert [axis.get_title() for axis in figure.axes] == ["n = 8", "n = 64"]
    assert next(label.get_text() for label in figure.axes[0].get_yticklabels()) == "PQM, ζ = 4 - BCE"
    assert {len(line.get_xdata()) for line in figure.axes[0].get_lines() if line.get_marker() == "o"} == {2}


def test_a_rebuild_has_other_pretraining_seeds_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*rebuilds.LINKED, "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    folder = rebuilds.prepare("tiny", 3)
    assert rebuilds.prepare("tiny", 3) == folder == Path(".work/rebuilds/tiny-3")
    yaml = YAML(typ="safe", pure=True)
    own, other = (yaml.load(path / "config/tiny/study.yaml") for path in (Path(), folder))
    for name, pretraining in own["pretraining"].items():
        assert other["pretraining"][name].pop("seed") == pretraining.pop("seed") + 300
    assert own == other and (folder / "src").resolve() == ROOT / "src"


def test_rebuilds_that_are_there_are_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 2):
        for table in rebuilds.tables_of("tiny", seed):
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text("a\n")
    (tmp_path / "results/tiny/rebuilds/2/differences.csv").unlink()
    built: list[int] = []
    monkeypatch.setattr(rebuilds, "build", lambda study, seed: built.append(seed))
    monkeypatch.setattr("sys.argv", ["rebuilds", "tiny", "4"])
    rebuilds.main()
    assert built == [1, 2, 3] and os.path.exists("results/tiny/rebuilds/0/main.csv")
