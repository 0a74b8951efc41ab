"""Tables, figures and the report of a small study whose scores are made up and whose questions and truths are real."""

import json
import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from small import read_yaml, write_yaml

from pqm import formats
from pqm.config import QuestionsConfig, StoriesSource
from pqm.errors import PqmError
from pqm.evaluate import grade, reference_metrics, run_metrics
from pqm.evaluate.estimators import best_of_n
from pqm.paper import FIGURE_NEEDS, TABLE_NEEDS
from pqm.paper.cost import ledger, records, seconds_a_sample, summary
from pqm.paper.figures import FIGURES, _audited_prefixes, draw_figure, label_audit_data, margin_data, q_values_data
from pqm.paper.report import TITLES, write_report
from pqm.paper.statistics import holm
from pqm.paper.study import Study
from pqm.paper.style import STYLES, method_order, printed, style
from pqm.paper.tables import TABLES, _case, make_table
from pqm.questions import make_questions
from pqm.questions.stories import parse_story, step_truth

ROOT = Path(__file__).parents[2]
SAMPLES, SEEDS, COMPLETIONS = 8, (0, 1), 6
POLICIES, BENCHMARKS = ["weak", "strong"], ["test", "perturbed"]
SETS = {"test": 30, "perturbed": 20, "validation": 8, "audit": 6}
PUBLISHED = {"published_solutions", "published_disagreements"}  # of solutions that others published; see test_grading.py
RUNS = {
    "bce": {"loss": "bce"},
    "pqm-zeta4": {"loss": "pqm", "zeta": 4.0},
    "second-bce": {"loss": "bce", "backbone": "early"},
}
RESULTS = {
    "tables": {
        "main": ["bce", "pqm-zeta4"],
        "differences": ["bce", "pqm-zeta4"],
        "backbones": ["bce", "second-bce"],
        "loss_ablation": ["pqm-zeta4"],
        "margin_ablation": ["pqm-zeta4"],
        "self_consistency": ["bce", "pqm-zeta4"],
        "aggregations": ["bce", "pqm-zeta4"],
        "first_error": ["bce", "pqm-zeta4"],
        "annotated_errors": ["bce", "pqm-zeta4"],
        "case_study": ["bce", "pqm-zeta4"],
        "grader_disagreement": [],
        "cost": [],
        "paper_comparison": [],
    },
    "figures": {
        "framework": ["pqm-zeta4"],
        "best_of_n": [],
        "margin": [],
        "votes": [],
        "assumption": [],
        "q_values": ["bce", "pqm-zeta4"],
        "label_audit": [],
        "separation": ["bce", "pqm-zeta4"],
        "calibration": ["bce", "pqm-zeta4"],
        "compute": ["bce", "pqm-zeta4"],
        "theory": [],
    },
}


def slipped(random, story, chance):
    """The story's solution with, by chance, one wrong result and a wrong answer."""
    steps = list(story.solution)
    if random.random() < chance:
        place = random.integers(len(steps))
        steps[place] = re.sub(r"= \d+", "= 29", steps[place])
        steps[-1] = re.sub(r"answer \d+", f"answer {random.integers(40, 60)}", steps[-1])
    return steps


def made_scores(random, truth, skill):
    """Right steps score higher than wrong ones, the better the judge the more so."""
    return [float(random.normal(skill if right else -skill, 1.0)) for right in truth]


def write_rollouts(folder, questions, policy, name, random):
    rows = []
    for question in questions.itertuples():
        for sample in range(SAMPLES):
            steps = slipped(random, parse_story(question.question), 0.7 if policy == "weak" else 0.4)
            rows.append(
                {"question_id": question.question_id, "sample_id": sample, "text": "\n".join(steps), "steps": steps}
                | {"n_tokens": 9 * len(steps), "finish_reason": "stop", "log_likelihood": -float(random.random())}
                | {"seed": 0, "engine": "made up"}
            )
    frame = pd.DataFrame(rows)
    formats.write(frame, formats.ROLLOUTS, folder / f"data/rollouts/{policy}/{name}.parquet")
    return frame


def write_scores(path, questions, rollouts, skill, random):
    texts = questions.set_index("question_id")["question"]
    values = [made_scores(random, step_truth(texts[row.question_id], list(row.steps)), skill) for row in rollouts.itertuples()]
    table = rollouts[["question_id", "sample_id"]].assign(step_scores=values, checkpoint="made up")
    formats.write(table, formats.SCORES, path)


def write_labels(path, questions, rollouts, random):
    texts = questions.set_index("question_id")["question"]
    rows = {}
    for row in rollouts.itertuples():
        truth = step_truth(texts[row.question_id], list(row.steps))
        hits = [int(random.binomial(COMPLETIONS, 0.8 if right else 0.1)) for right in truth[:-1]] + [int(truth[-1])]
        counts = [COMPLETIONS] * (len(truth) - 1) + [1]
        rows[row.question_id, tuple(row.steps)] = {
            "question_id": row.question_id, "policy": "weak", "prompt": texts[row.question_id], "completions": row.steps,
            "labels": [float(hit > 0) for hit in hits], "soft_labels": [hit / count for hit, count in zip(hits, counts)],
            "hits": hits, "counts": counts, "answer": "1", "correct": truth[-1], "method": "made up", "completion_tokens": 5,
        }  # fmt: skip
    formats.write(pd.DataFrame(rows.values()), formats.LABELS, path)


def write_benchmark(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ["s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss", "io_in", "io_out", "mean_load", "cpu_time"]
    path.write_text("\t".join(head) + "\n" + f"{seconds}\t0:00:01\t100.5\t1\t1\t1\t1\t1\t50\t{seconds / 2}\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    random = np.random.default_rng(0)
    file, results = folder / "made/study.yaml", folder / "results"
    evaluation = {"policies": POLICIES, "benchmarks": BENCHMARKS, "validation": "validation", "audit": "audit", "annotated": ["marked"],
                  "reference_backbone": "proofreader", "n": [1, 2, 8], "vote_subsets": 200, "batch_tokens": 64, "seed": 0}  # fmt: skip
    training = {"seeds": list(SEEDS), "epochs": 1.0, "learning_rate": 1e-4, "warmup_share": 0.1, "clip": 1.0, "batch_tokens": 64,
                "weighting": "trajectory", "normalizer": "factors", "checkpoint_every": 5, "validation": "validation"}  # fmt: skip
    rollouts = {"samples": SAMPLES, "temperature": 1.0, "max_new_tokens": 64, "questions_per_batch": 8, "seed": 0}
    pretraining = {"start": "nothing", "phases": [{"steps": 1, "learning_rate": 1e-3, "facts": [3, 5]}], "snapshot_every": 1,
                   "batch_tokens": 64, "excluded": ["test"], "validation": "validation", "seed": 0}  # fmt: skip
    sections = {
        "pretraining": {"language-model": pretraining},
        "rollouts": dict.fromkeys(SETS, rollouts),
        "training": training,
        "runs": {name: {"labels": "audit", "backbone": "proofreader"} | content for name, content in RUNS.items()},
        "evaluation": evaluation,
        "results": RESULTS | {"report": ["bce", "pqm-zeta4"], "confidence": 0.95, "resamples": 300, "seed": 0},
    }
    write_yaml(file, sections)
    study = Study.of(file, folder / "data", results)
    for index, (name, size) in enumerate(SETS.items()):
        source = StoriesSource(kind="stories", questions=size, facts=(3, 5), seed=index)
        questions = make_questions(QuestionsConfig(source=source), name, {}, Path("."))
        formats.write(questions, formats.QUESTIONS, folder / f"data/questions/{name}.parquet")
        parts = []
        for policy in POLICIES:
            rollouts = write_rollouts(folder, questions, policy, name, random)
            parts.append(rollouts)
            path = folder / f"data/questions/{name}.parquet", folder / f"data/rollouts/{policy}/{name}.parquet"
            formats.write(grade(*path), formats.GRADES, results / f"grades/{policy}/{name}.parquet")
            for run, skill in (("bce", -0.5), ("pqm-zeta4", 4.0), ("second-bce", 0.1)):
                for seed in SEEDS:
                    write_scores(
                        results / f"scores/{run}/seed-{seed}/{policy}/{name}.parquet", questions, rollouts, skill, random
                    )
            for kind in ("likelihood", "proofreader"):
                write_scores(results / f"scores/references/{kind}/{policy}/{name}.parquet", questions, rollouts, 0.5, random)
        if name in ("audit", "validation"):
            write_labels(folder / f"data/labels/{name}.parquet", questions, pd.concat(parts), random)
    # Solutions that people marked: the weak policy's on `test`, whose truth is known here.
    marked = folder / "data/annotated/marked/grades.parquet"
    marked.parent.mkdir(parents=True)
    shutil.copy(results / "grades/weak/test.parquet", marked)
    for run in RUNS:
        for seed in SEEDS:
            scores = results / f"scores/{run}/seed-{seed}"
            (scores / "annotated").mkdir()
            shutil.copy(scores / "weak/test.parquet", scores / "annotated/marked.parquet")
    for run in RUNS:
        setup = study.run(run)
        frame = run_metrics(run, setup, study.evaluation, SEEDS, results / "grades", results / "scores" / run)
        formats.write(frame, formats.METRICS, results / f"metrics/{run}.parquet")
        for seed in SEEDS:
            checkpoint = results / f"checkpoints/{run}/seed-{seed}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "model.safetensors").write_bytes(f"{run} {seed}".encode())
            facts = {"run": setup.model_dump(), "labels_sha256": "a" * 64, "backbone_sha256": "b" * 64, "solutions": 3,
                     "optimizer_steps": 4, "tokens": 1000, "validation": {"solution_auc": 0.8}}  # fmt: skip
            (checkpoint / "run.json").write_text(json.dumps(facts))
            write_benchmark(results / f"benchmarks/train/{run}/seed-{seed}.tsv", 6.0)
        write_benchmark(results / f"benchmarks/evaluate/{run}/scores.tsv", 4.0)
    references = reference_metrics(study.evaluation, results / "grades", folder / "data/rollouts", results / "scores/references")
    formats.write(references, formats.METRICS, results / "metrics/references.parquet")
    for policy in POLICIES:
        for name in SETS:
            write_benchmark(results / f"benchmarks/rollouts/{policy}/{name}.tsv", 2.0)
    snapshots = folder / "data/pretraining/language-model/snapshots.csv"
    snapshots.parent.mkdir(parents=True)
    snapshots.write_text("snapshot,tokens\na,10\nb,4000\n")
    write_benchmark(results / "benchmarks/policies/pretraining-language-model.tsv", 9.0)
    return study


@pytest.fixture(scope="module")
def captions():
    return ROOT / "workflow/report"


@pytest.fixture(scope="module")
def made(study, captions):
    """The study with every table and figure made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # config/reported.csv
        for name in study.paper.tables:
            make_table(name, study, captions / f"{name}.rst", study.results / "tables")
        for name in study.paper.figures:
            draw_figure(name, study, study.results / "figures")
    return study


def rows_of(made, name):
    return pd.read_csv(made.results / "tables" / f"{name}.csv")


# ---------------------------------------------------------------- every result


def test_every_result_has_its_function_its_needs_its_title_and_its_caption(captions):
    names = {*TABLES, *FIGURES}
    assert set(TABLES) == set(TABLE_NEEDS) and set(FIGURES) == set(FIGURE_NEEDS)
    assert names == set(TITLES)
    assert {path.stem for path in captions.glob("*.rst")} == names
    listed = {name: Study.of(ROOT / "config" / name / "study.yaml").paper for name in ("demo", "tiny", "published")}
    for name in ("demo", "tiny"):
        # People marked solutions of real questions, which such a model cannot read: that table is the gpu study's.
        assert set(listed[name].tables) == set(TABLES) - {"annotated_errors"} - PUBLISHED
        assert set(listed[name].figures) == set(FIGURES)
    assert set(listed["published"].tables) == PUBLISHED and not listed["published"].figures


def test_every_table_is_written_three_times(made):
    for name in made.paper.tables:
        text = (made.results / "tables" / f"{name}.md").read_text()
        assert text.startswith("|") and "{" not in text and "nan" not in text
        assert (made.results / "tables" / f"{name}.tex").read_text().startswith(r"\begin{table}")
        assert len(rows_of(made, name)) > 0


def test_every_figure_is_written_with_its_numbers(made):
    for name in made.paper.figures:
        sizes = {form: (made.results / "figures" / f"{name}.{form}").stat().st_size for form in ("svg", "png", "pdf", "csv")}
        assert sizes["svg"] > 5000 and sizes["png"] > 5000 and sizes["pdf"] > 3000 and sizes["csv"] > 50


@pytest.mark.parametrize("name", ["framework", "theory", "separation"])
def test_the_same_input_gives_the_same_bytes(made, name, tmp_path):
    draw_figure(name, made, tmp_path)
    for form in ("svg", "png", "pdf"):
        assert (tmp_path / f"{name}.{form}").read_bytes() == (made.results / "figures" / f"{name}.{form}").read_bytes()


def test_nothing_of_a_figure_is_cut_off(made):
    for name, drawing in FIGURES.items():
        figure = drawing.draw(drawing.data(made, made.paper.figures[name]))
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        inside = box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= width + 0.02 and box.y1 <= height + 0.02
        assert inside, f"{name}: {box.bounds} in {width} x {height}"
        plt.close(figure)


# ---------------------------------------------------------------- tables


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
    lines = [line for line in (made.results / "tables/main.md").read_text().splitlines() if line.startswith("| test")]
    for method in ("bce", "pqm-zeta4"):
        for policy in POLICIES:
            line = next(one for one in lines if f"| {policy} " in one and f"| {printed(method)} " in one)
            part = tests[
                (tests["benchmark"] == "test") & (tests["policy"] == policy) & (tests["method"] == method) & tests["holds"]
            ]
            letters = {"self-consistency": "s", "proofreader": "m", "bce": "b"}
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


def test_backbones_are_told_apart(made):
    rows = rows_of(made, "backbones")
    assert set(rows[rows["method"] == "bce"]["backbone"]) == {"proofreader", "early"}


def test_two_runs_of_one_method_in_a_result_are_refused(study, tmp_path):
    content = read_yaml(study.file)
    content["results"]["tables"]["main"] = ["bce", "second-bce"]
    write_yaml(tmp_path / "study.yaml", content)
    other = Study.of(tmp_path / "study.yaml", study.data, study.results)
    assert other.runs_of("backbones") == ("bce", "second-bce")
    with pytest.raises(PqmError, match="main: runs bce, second-bce are all bce"):
        other.runs_of("main")


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


def test_marked_errors_are_judged_by_a_threshold_from_monte_carlo_labels(made):
    rows = rows_of(made, "annotated_errors").set_index("method")
    assert set(rows["benchmark"]) == {"marked"} and set(rows["backbone"]) == {"proofreader"}
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
    chosen, _ = _case(solutions)
    scrambled = solutions.assign(step_scores=solutions["step_scores"].sample(frac=1, random_state=1).to_numpy())
    again, _ = _case(scrambled)
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


def test_cost_sums_jobs_and_counters(made):
    rows = rows_of(made, "cost").set_index("stage")
    assert rows.loc["train", ["jobs", "cpu_seconds", "seconds", "longest_seconds", "tokens"]].tolist() == [6, 18, 36, 6, 6000]
    assert rows.loc["policies", "tokens"] == 4000
    sampled = sum(made.rollouts(policy, name)["n_tokens"].sum() for policy in POLICIES for name in SETS)
    assert rows.loc["rollouts", "tokens"] == sampled
    assert rows.loc["evaluate", "tokens"] == (6 + 2) * sampled
    jobs = records(made.results / "benchmarks")
    assert summary(jobs)["jobs"].sum() == len(jobs)


@pytest.fixture
def copied(made, tmp_path):
    """The study with benchmark files of its own."""
    shutil.copytree(made.results, tmp_path / "results", ignore=shutil.ignore_patterns("checkpoints", "figures", "tables"))
    for name in ("checkpoints", "figures", "tables"):
        (tmp_path / "results" / name).symlink_to(made.results / name)
    return Study.of(made.file, made.data, tmp_path / "results")


def test_jobs_of_a_run_or_seed_that_the_study_has_no_more_are_not_counted(made, copied):
    for job in ("train/gone/seed-0", "train/bce/seed-9", "evaluate/gone/scores", "paper/tables/main"):
        write_benchmark(copied.results / f"benchmarks/{job}.tsv", 1000.0)
    pd.testing.assert_frame_equal(ledger(copied), ledger(made))
    write_benchmark(copied.results / "benchmarks/evaluate/references/likelihood.tsv", 1000.0)
    assert ledger(copied)["seconds"].sum() == ledger(made)["seconds"].sum() + 1000


def test_cells_without_a_record_of_their_sampling_are_left_out_of_compute(copied):
    assert len(seconds_a_sample(copied, ["bce", "pqm-zeta4"])) == len(POLICIES) * len(BENCHMARKS)
    (copied.results / "benchmarks/rollouts/weak/test.tsv").unlink()
    left = seconds_a_sample(copied, ["bce", "pqm-zeta4"])
    assert list(zip(left["policy"], left["benchmark"])) == [("strong", "test"), ("weak", "perturbed"), ("strong", "perturbed")]
    shutil.rmtree(copied.results / "benchmarks/evaluate/bce")
    assert seconds_a_sample(copied, ["bce", "pqm-zeta4"])["scoring"].to_numpy() == pytest.approx(left["scoring"].to_numpy())
    with pytest.raises(PqmError, match="benchmarks/evaluate: no timing of scoring bce; score one of them first"):
        seconds_a_sample(copied, ["bce"])


@pytest.fixture
def reported(monkeypatch, tmp_path):
    """Runs in a folder with these published numbers."""

    def write(*rows):
        (tmp_path / "config").mkdir()
        pd.DataFrame(rows).to_csv(tmp_path / "config/reported.csv", index=False)
        monkeypatch.chdir(tmp_path)

    return write


ROW = {"policy": "weak", "benchmark": "test", "method": "bce", "n": 8, "accuracy": 0.5, "source": "somewhere"}


def test_published_numbers_stand_beside_ours(made, reported):
    reported(ROW, ROW | {"policy": "unknown"})
    rows = TABLES["paper_comparison"](made, []).rows
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
        TABLES["paper_comparison"](made, [])


@pytest.mark.parametrize("text", ["", "policy,benchmark\nweak,test\n", None], ids=["empty", "columns", "missing"])
def test_a_file_of_published_numbers_that_cannot_be_read_is_said(made, monkeypatch, tmp_path, text):
    (tmp_path / "config").mkdir()
    if text is not None:
        (tmp_path / "config/reported.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PqmError, match=r"reported\.csv"):
        TABLES["paper_comparison"](made, [])


# ---------------------------------------------------------------- by the command line


def test_verbs_find_their_settings_in_the_study(made, captions, run_cli, tmp_path):
    scores, grades = made.results / "scores", made.results / "grades"
    seeds = [word for seed in SEEDS for word in ("--seed", seed)]
    verb = ["evaluate", "metrics", made.file, "bce", "--grades", grades, "--scores", scores / "bce", *seeds]
    assert run_cli(*verb, "--output", tmp_path / "bce.parquet") == (0, "")
    verb = ["evaluate", "references", made.file, "--grades", grades, "--rollouts", made.data / "rollouts"]
    assert run_cli(*verb, "--scores", scores / "references", "--output", tmp_path / "references.parquet") == (0, "")
    for name in ("bce", "references"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == (made.results / f"metrics/{name}.parquet").read_bytes()
    folders = ["--study", made.file, "--data", made.data, "--results", made.results, "--output", tmp_path]
    assert run_cli("paper", "table", "main", "--caption", captions / "main.rst", *folders) == (0, "")
    assert run_cli("paper", "figure", "theory", *folders) == (0, "")
    assert (tmp_path / "main.md").read_bytes() == (made.results / "tables/main.md").read_bytes()
    assert (tmp_path / "theory.svg").read_bytes() == (made.results / "figures/theory.svg").read_bytes()
    report = [*folders[:-1], tmp_path / "report.html"]
    assert run_cli("paper", "report", "--captions", captions, *report) == (0, "")
    assert "figure-theory" in (tmp_path / "report.html").read_text()


# ---------------------------------------------------------------- figures


def test_label_errors_are_those_of_all_subsets(made):
    data, steps = label_audit_data(made, []).set_index("k"), _audited_prefixes(made)
    for k in (1, 3, COMPLETIONS):
        missed, fooled = [], []
        for row in steps.itertuples():
            draws = [any(subset) for subset in combinations([True] * row.hits + [False] * (row.count - row.hits), k)]
            (missed if row.right else fooled).append(np.mean(draws))
        assert data.loc[k, "false_negative"] == pytest.approx(1 - np.mean(missed))
        assert data.loc[k, "false_positive"] == pytest.approx(np.mean(fooled))


def test_each_prefix_is_audited_once_and_whole_solutions_are_not(made):
    labels = made.labels("audit")
    prefixes = {
        (row.question_id, tuple(row.completions[:end])) for row in labels.itertuples() for end in range(1, len(row.completions))
    }
    assert len(_audited_prefixes(made)) == len(prefixes)


def test_a_perfect_judge_reverses_less_than_a_poor_one(made):
    data = q_values_data(made, ["bce", "pqm-zeta4"]).drop_duplicates("source").set_index("source")
    assert data.loc["pqm-zeta4", "violated"] < data.loc["bce", "violated"]
    assert data.loc["pqm-zeta4", "inequalities"] == sum(len(steps) for steps in made.labels("audit")["completions"])


def test_margin_is_drawn_from_its_table(made):
    data = margin_data(made, [])
    assert set(data["zeta"]) == {4.0} and set(data["n"]) == {1, 8}


def test_a_method_has_one_colour_and_print_names_differ():
    names = [printed(method) for method in STYLES]
    assert len(set(names)) == len(names)
    assert style("bce").colour == style("bce+self-consistency").colour
    assert style("bce").line != style("bce+self-consistency").line
    assert printed("pqm-zeta16") == "PQM, ζ = 16"
    assert sorted(["pqm-zeta16", "bce", "pqm-zeta4", "pass@1"], key=method_order) == ["pass@1", "bce", "pqm-zeta4", "pqm-zeta16"]


def test_colours_of_trained_methods_differ():
    trained = ("orm", "mse-hard", "mse-soft", "bce", "pqm-zeta2", "pqm-zeta4")
    assert len({style(method).colour for method in trained}) == len(trained)


# ---------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def page(made, captions, tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "report.html"
    write_report(made, captions, output)
    return output.read_text()


def test_report_shows_everything(page):
    assert {*RESULTS["tables"], *RESULTS["figures"]} == set(TITLES) - PUBLISHED
    for kind in ("figure", "table"):
        assert set(re.findall(rf'<h3 id="{kind}-(\w+)"', page)) == set(RESULTS[f"{kind}s"])
    assert page.count("<svg") == len(RESULTS["figures"])


def test_report_asks_nothing_of_the_network(page):
    loaded = re.findall(r'(?:src|href|xlink:href)="(?!#|data:)([^"]+)"', page) + re.findall(r"url\((?!#)([^)]+)\)", page)
    assert loaded == []
    assert "<script" not in page


def test_links_of_the_report_lead_somewhere(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert links <= set(ids)


def test_report_marks_first_errors(page, made):
    samples = page.split('<h2 id="questions">', 1)[1].split('<h2 id="provenance">', 1)[0]
    assert samples.count('class="first"') == samples.count("wrong, the first") > 0


def test_report_without_a_table_is_refused(made, captions, tmp_path):
    lost = made.results / "tables/cost.md"
    text = lost.read_text()
    lost.unlink()
    try:
        with pytest.raises(PqmError, match=r"cost\.md: missing"):
            write_report(made, captions, tmp_path / "report.html")
    finally:
        lost.write_text(text)
    assert not (tmp_path / "report.html").exists()


# ---------------------------------------------------------------- bad input


def test_a_run_that_failed_is_named(study, captions, tmp_path):
    lost = study.results / "metrics/bce.parquet"
    aside = lost.rename(lost.with_suffix(".aside"))
    try:
        with pytest.raises(PqmError, match="run 'bce' was not built or failed"):
            make_table("main", study, captions / "main.rst", tmp_path)
    finally:
        aside.rename(lost)
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_record_that_was_cut_is_named(tmp_path):
    write_benchmark(tmp_path / "train/bce/seed-0.tsv", 1.0)
    (tmp_path / "train/bce/seed-1.tsv").write_text("")
    with pytest.raises(PqmError, match=r"seed-1\.tsv"):
        records(tmp_path)


def test_unknown_results_are_refused(study, captions, tmp_path):
    with pytest.raises(PqmError, match="no table is named 'mian'"):
        make_table("mian", study, captions / "main.rst", tmp_path)
    with pytest.raises(PqmError, match="no figure is named 'pie'"):
        draw_figure("pie", study, tmp_path)


def test_a_figure_says_which_table_it_lacks(study, tmp_path):
    lost = Study.of(study.file, study.data, tmp_path)
    with pytest.raises(PqmError, match="make table main first"):
        draw_figure("best_of_n", lost, tmp_path)


def test_a_study_that_lacks_what_a_result_needs_is_named(study, captions, tmp_path):
    content = read_yaml(study.file)
    del content["evaluation"]["audit"], content["training"]
    write_yaml(tmp_path / "study.yaml", content)
    lacking = Study.of(tmp_path / "study.yaml", study.data, study.results)
    with pytest.raises(PqmError, match=r"study\.yaml: evaluation names no audit set, which this result needs"):
        draw_figure("label_audit", lacking, tmp_path)
    with pytest.raises(PqmError, match=r"study\.yaml: section 'training' is missing, which this result needs"):
        lacking.scorers("bce")
    with pytest.raises(PqmError, match=r"study\.yaml: runs has no 'bec'; did you mean 'bce'\?"):
        lacking.run("bec")
    with pytest.raises(PqmError, match=r"study\.yaml: results: table 'published_solutions' is not listed"):
        make_table("published_solutions", lacking, captions / "main.rst", tmp_path)


def test_a_study_owns_its_folders():
    study = Study.of(Path("config/demo/study.yaml"))
    assert (study.name, study.data, study.results) == ("demo", Path("data/demo"), Path("results/demo"))
    assert Study.of(Path("config/demo/study.yaml"), results=Path("elsewhere")).results == Path("elsewhere")
