"""The tables of a small study (`made_study.py`)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_study import BENCHMARKS, POLICIES, SEEDS, SETS, rows_of

from pqm.errors import PqmError
from pqm.estimation.estimators import best_of_n
from pqm.estimation.statistics import holm
from pqm.paper.style import printed
from pqm.paper.table import make_table
from pqm.paper.tables import case_study, paper_comparison


def test_every_table_is_written_three_times(made):
    for name in made.config.tables:
        text = Path(made.layout.table(name, "md")).read_text()
        assert text.startswith("|") and "{" not in text and "nan" not in text
        assert Path(made.layout.table(name, "tex")).read_text().startswith(r"\begin{table}")
        assert len(rows_of(made, name)) > 0


def test_main_is_the_exact_estimate_of_the_scores(made):
    rows = rows_of(made, "main")
    found = rows[(rows["method"] == "bce") & (rows["policy"] == "weak") & (rows["benchmark"] == "test") & (rows["n"] == 2)]
    values = []
    for seed in SEEDS:
        scored = made.scored(f"bce/seed-{seed}", "weak", "test")
        for _, group in scored.groupby("question_id"):
            values.append(best_of_n(np.array([min(steps) for steps in group["step_scores"]]), group["correct"].to_numpy(), 2))
    assert found["accuracy"].iloc[0] == pytest.approx(np.mean(values), abs=1e-4)
    assert found["questions"].iloc[0] == SETS["test"] and found["seeds"].iloc[0] == 2


def test_letters_of_the_main_table_are_the_tests_that_hold(made):
    tests = rows_of(made, "differences")
    assert tests["holds"].any() and not tests["holds"].all()
    lines = [line for line in Path(made.layout.table("main", "md")).read_text().splitlines() if line.startswith("| test")]
    for method in ("bce", "pqm-zeta4"):
        for policy in POLICIES:
            line = next(one for one in lines if f"| {policy} " in one and f"| {printed(method)} " in one)
            part = tests[
                (tests["benchmark"] == "test") & (tests["policy"] == policy) & (tests["method"] == method) & tests["holds"]
            ]
            letters = {"self-consistency": "s", "step-classifier": "c", "bce": "b"}
            expected = {letters[row.reference] + ("" if row.difference > 0 else "↓") for row in part.itertuples()}
            assert set(line.rstrip(" |").rsplit("]", 1)[1].split()) == expected


def test_tests_are_at_the_largest_n_and_corrected_by_family(made):
    tests = rows_of(made, "differences")
    assert set(tests["n"]) == {8}
    sizes = tests["family"].value_counts().to_dict()
    each = 2 + 3  # BCE is not tested against itself
    assert sizes == {"all": each, "cells": len(POLICIES) * len(BENCHMARKS) * each}
    assert (tests["p_holm"] >= tests["p"] - 1e-4).all()
    assert (tests["holds"] == (tests["p_holm"] < 0.05)).all()
    for _, family in tests.groupby("family"):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].tolist()), abs=2e-3)


def test_the_difference_over_all_cells_is_their_mean_weighted_by_questions(made):
    tests = rows_of(made, "differences")
    part = tests[(tests["method"] == "pqm-zeta4") & (tests["reference"] == "bce")]
    cells = part[part["family"] == "cells"]
    expected = np.average(cells["difference"], weights=[SETS[name] for name in cells["benchmark"]])
    assert part[part["family"] == "all"]["difference"].iloc[0] == pytest.approx(expected, abs=1e-3)


def test_backbones_are_distinguished(made):
    rows = rows_of(made, "backbones")
    assert set(rows[rows["method"] == "bce"]["backbone"]) == {"error-detecting", "early"}


def test_minima_on_the_last_step_are_counted(made):
    rows = rows_of(made, "aggregations")
    found = rows[(rows["method"] == "bce") & (rows["policy"] == "weak") & (rows["benchmark"] == "test")]["minimum_is_last"].iloc[
        0
    ]
    shares = []
    for seed in SEEDS:
        steps = [list(one) for one in made.scored(f"bce/seed-{seed}", "weak", "test")["step_scores"] if len(one) > 1]
        shares.append(np.mean([one[-1] == min(one) for one in steps]))
    assert found == pytest.approx(np.mean(shares), abs=1e-4)


def test_a_better_judge_finds_more_first_errors(made):
    rows = rows_of(made, "first_error").set_index(["benchmark", "method"])
    for benchmark in BENCHMARKS:
        good, bad = rows.loc[(benchmark, "pqm-zeta4")], rows.loc[(benchmark, "bce")]
        assert good["f1"] > 0.9 > bad["f1"]
        assert good["low"] <= good["f1"] <= good["high"]
        assert good["erroneous"] + good["correct"] == len(made.solutions("bce/seed-0", benchmark))


def test_annotated_errors_are_judged_by_a_threshold_from_monte_carlo_labels(made):
    rows = rows_of(made, "annotated_errors").set_index("method")
    assert set(rows["benchmark"]) == {"marked"} and set(rows["backbone"]) == {"error-detecting"}
    solutions = made.annotated("bce/seed-0", "marked")
    assert set(rows["erroneous"] + rows["correct"]) == {len(solutions)}
    assert rows.loc["pqm-zeta4", "f1"] > 0.9 > rows.loc["bce", "f1"]


def test_the_first_wrong_step_of_labelled_solutions_is_the_first_label_of_zero(made):
    labelled = made.labelled("pqm-zeta4/seed-0").set_index(["question_id", "steps"])
    labels = made.labels("validation")
    assert len(labelled) == len(labels)
    for row in labels.itertuples():
        error = labelled.loc[(row.question_id, tuple(row.completions)), "first_error"]
        assert min(row.labels) == 1 if error == -1 else row.labels[error] == 0 and min(row.labels[:error], default=1) == 1


def test_case_study_is_chosen_without_scores(made):
    solutions = made.solutions("bce/seed-0", "test")
    chosen, _ = case_study.choose(solutions)
    scrambled = solutions.assign(step_scores=solutions["step_scores"].sample(frac=1, random_state=1).to_numpy())
    again, _ = case_study.choose(scrambled)
    assert (chosen["question_id"], chosen["sample_id"]) == (again["question_id"], again["sample_id"])
    assert 0 < chosen["first_error"] < len(chosen["steps"]) - 1
    rows = rows_of(made, "case_study")
    assert rows["right"].tolist() == [place < chosen["first_error"] for place in range(len(rows))]
    scores = np.mean([made.scored(f"bce/seed-{seed}", chosen["policy"], "test").set_index(["question_id", "sample_id"])
                      .at[(chosen["question_id"], chosen["sample_id"]), "step_scores"] for seed in SEEDS], axis=0)  # fmt: skip
    assert rows["bce"].to_numpy() == pytest.approx(1 / (1 + np.exp(-scores)), abs=1e-4)


def test_graders_are_counted(made):
    rows = rows_of(made, "grader_disagreement")
    counts = rows[["both_right", "both_wrong", "only_math_verify", "only_authors_rules"]].sum(axis=1)
    assert (counts == rows["samples"]).all()


@pytest.fixture
def reported(monkeypatch, tmp_path):
    """Change to a folder with these published numbers."""

    def write(*rows):
        (tmp_path / "config").mkdir()
        pd.DataFrame(rows).to_csv(tmp_path / "config/reported.csv", index=False)
        monkeypatch.chdir(tmp_path)

    return write


ROW = {"policy": "weak", "benchmark": "test", "method": "bce", "n": 8, "accuracy": 0.5, "source": "somewhere"}


def test_published_numbers_are_beside_ours(made, reported):
    reported(ROW, ROW | {"policy": "unknown"})
    rows = paper_comparison.table(made, []).rows
    main = rows_of(made, "main")
    ours = main[(main["method"] == "bce") & (main["policy"] == "weak") & (main["benchmark"] == "test") & (main["n"] == 8)]
    assert rows["accuracy_ours"].iloc[0] == ours["accuracy"].iloc[0]
    assert np.isnan(rows["accuracy_ours"].iloc[1])


@pytest.mark.parametrize(
    ("change", "words"), [({"source": " "}, "source"), ({"source": None}, "source"), ({"accuracy": 51.4}, "share")]
)
def test_published_numbers_without_source_or_beyond_one_are_refused(made, reported, change, words):
    reported(ROW, ROW | change)
    with pytest.raises(PqmError, match=f"line 3.*{words}"):
        paper_comparison.table(made, [])


@pytest.mark.parametrize("text", ["", "policy,benchmark\nweak,test\n", None], ids=["empty", "columns", "missing"])
def test_a_file_of_published_numbers_that_cannot_be_read_is_named(made, monkeypatch, tmp_path, text):
    (tmp_path / "config").mkdir()
    if text is not None:
        (tmp_path / "config/reported.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PqmError, match=r"reported\.csv"):
        paper_comparison.table(made, [])


def test_a_run_that_failed_is_named(study, tmp_path):
    lost = Path(study.layout.metrics("bce"))
    aside = lost.rename(lost.with_suffix(".aside"))
    try:
        with pytest.raises(PqmError, match="run 'bce' was not built or failed"):
            make_table("main", study, tmp_path)
    finally:
        aside.rename(lost)
    assert list(tmp_path.iterdir()) == []
