"""The tables of a small study (`made_study.py`)."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_study import BENCHMARKS, POLICIES, SEEDS, SETS, rows_of
from small import read_yaml, write_yaml

from pqm.errors import PqmError
from pqm.estimation.estimators import best_of_n
from pqm.estimation.statistics import holm
from pqm.paper.overview import write_overview
from pqm.paper.results import Results
from pqm.paper.significance import significance_note, significance_tests
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
            letters = {"self-consistency": "s", "backbone-likelihood": "l", "step-classifier": "c", "bce": "b"}
            expected = {letters[row.reference] + ("" if row.difference > 0 else "↓") for row in part.itertuples()}
            assert set(line.rstrip(" |").rsplit("]", 1)[1].split()) == expected


def test_tests_are_at_the_largest_n_and_corrected_by_family(made):
    tests = rows_of(made, "differences")
    assert set(tests["n"]) == {8}
    sizes = tests["family"].value_counts().to_dict()
    each = 3 + 4  # BCE is not tested against itself
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


@pytest.mark.parametrize("name", ["main", "backbones", "loss_ablation", "margin_ablation", "self_consistency"])
def test_what_the_backbone_does_without_reward_training_is_beside_every_method(made, name):
    rows, main = rows_of(made, name), rows_of(made, "main")
    for method in ("backbone-likelihood", "step-classifier"):
        found = rows[rows["method"] == method].set_index(["policy", "benchmark", "n"])["accuracy"]
        expected = main[main["method"] == method].set_index(["policy", "benchmark", "n"])["accuracy"]
        assert len(found) > 0 and found.to_dict() == expected[found.index].to_dict()
        assert f"| {printed(method)} " in Path(made.layout.table(name, "md")).read_text()


def test_a_method_below_the_likelihood_is_said_to_be_below(made):
    metrics = made.metrics(["bce", "pqm-zeta4"])
    largest = metrics["n"] == 8
    for method, period in (("bce", 2), ("backbone-likelihood", 1), ("step-classifier", 2), ("pqm-zeta4", 1)):
        rows = largest & (metrics["method"] == method)
        numbers = metrics.loc[rows, "question_id"].str.rsplit("-", n=1).str[1].astype(int)
        metrics.loc[rows, "accuracy"] = (numbers % period == 0).astype(float)
    tests = significance_tests(made, metrics, ["bce", "pqm-zeta4"])
    found = tests[tests["family"] == "all"].set_index(["method", "reference"])
    assert found.loc[("bce", "backbone-likelihood"), "difference"] == -0.5 and found.loc[("bce", "backbone-likelihood"), "holds"]
    assert found.loc[("pqm-zeta4", "backbone-likelihood"), "difference"] == 0
    note = significance_note(made, tests)
    assert "BCE below self-consistency, backbone's likelihood;" in note and "PQM, ζ = 4 below" not in note
    assert "PQM, ζ = 4 above self-consistency, backbone's step classifier, BCE." in note


def test_an_ablation_compares_equal_seeds(made):
    rows = rows_of(made, "margin_ablation")
    assert set(rows["policy"]) == {"weak"} and set(rows["seeds"]) == {1}
    for method in ("pqm-zeta4", "pqm-zeta8"):
        metrics = made.metrics([method], references=False)
        one = metrics[(metrics["seed"] == 1) & (metrics["policy"] == "weak") & (metrics["aggregation"] == "min")]
        expected = one[one["method"] == method].groupby(["benchmark", "n"])["accuracy"].mean()
        found = rows[rows["method"] == method].set_index(["benchmark", "n"])["accuracy"]
        assert found.to_dict() == pytest.approx(expected.to_dict(), abs=1e-6)
    assert "Every run has one training seed here, 1, so" in Path(made.layout.table("margin_ablation", "md")).read_text()
    assert "Every run has 2 training seeds here: 0, 1." in Path(made.layout.table("backbones", "md")).read_text()
    trained = rows_of(made, "backbones").query("method == 'bce'")
    assert set(trained["seeds"]) == {2}


def test_runs_without_a_common_seed_are_refused(made, tmp_path):
    content = read_yaml(made.file)
    content["runs"]["pqm-zeta4"]["seeds"] = [0]
    write_yaml(tmp_path / "study.yaml", content)
    other = Results(tmp_path / "study.yaml", Path(made.layout.data), Path(made.layout.results))
    with pytest.raises(PqmError, match="runs pqm-zeta4, pqm-zeta8 have no training seed in common"):
        make_table("margin_ablation", other, tmp_path)


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
    labelled = made.labelled("pqm-zeta4/seed-0", "validation").set_index(["question_id", "steps"])
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
    reported(ROW, ROW | {"policy": "unknown"}, ROW | {"method": "orm"})
    table = paper_comparison.table(made, [])
    rows = table.rows
    main = rows_of(made, "main")
    ours = main[(main["method"] == "bce") & (main["policy"] == "weak") & (main["benchmark"] == "test") & (main["n"] == 8)]
    assert rows["accuracy_ours"].iloc[0] == ours["accuracy"].iloc[0]
    assert len(rows) == len(table.shown) == 1 and table.note == "This study measured 1 of 3 published numbers."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": " "}, "source: expected where the number was read, found ' '"),
        ({"source": None}, "source: expected where the number was read, found nothing"),
        ({"accuracy": 51.4}, r"accuracy: expected a share in \[0, 1\], found 51.4"),
        ({"accuracy": "39.8 %"}, r"accuracy: expected a share in \[0, 1\], found '39.8 %'"),
        ({"n": 0}, "n: expected a number of samples, found 0"),
        ({"n": 8.5}, "n: expected a number of samples, found 8.5"),
        ({"method": "bec"}, "method: expected a loss with its settings, such as pqm-zeta4, or a reference, .*, found 'bec'"),
        ({"method": "x" * 5000}, "method: expected .*, found 'x{9,150} .. x{9,150}'$"),
    ],
)
def test_published_numbers_that_no_study_can_measure_are_refused(made, reported, change, words):
    reported(ROW, ROW | change)
    with pytest.raises(PqmError, match=f"line 3, {words}"):
        paper_comparison.table(made, [])


def test_whole_published_shares_and_votes_are_read(made, reported):
    reported(ROW | {"accuracy": 1}, ROW | {"accuracy": 0, "method": "bce+self-consistency"})
    assert paper_comparison.table(made, []).shown["reported"].tolist() == ["100.0", "0.0"]


def test_pages_leave_out_a_comparison_without_a_measured_number(made, reported, tmp_path):
    reported(ROW | {"policy": "unknown"})
    copy = Results(made.file, Path(made.layout.data), tmp_path / "results")
    shutil.copytree(made.layout.results, tmp_path / "results", ignore=shutil.ignore_patterns("scores", "checkpoints"))
    assert "paper_comparison" in copy.shown("tables")
    make_table("paper_comparison", copy, tmp_path / "results/tables")
    assert copy.shown("tables") == [name for name in made.config.tables if name != "paper_comparison"]
    write_overview(copy, tmp_path / "results/README.md")
    assert "Published numbers" not in (tmp_path / "results/README.md").read_text()


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
