"""Tables and checkpoints that verbs refuse in one sentence, without any output."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from verbs import judge_verb, put, score_verb

from pqm.errors import PqmError
from pqm.io import formats
from pqm.models.reward_model import load_reward_model
from pqm.solution_format import FILE_NAME, SolutionFormat

# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(("column", "value"), [("labels", 1.5), ("labels", -0.1), ("soft_labels", 2.0), ("labels", float("nan"))])
def test_label_outside_0_to_1(column, value, refuses, changed, tables, train_verb):
    row = 4
    length = len(pd.read_parquet(tables.labels)["labels"].iloc[row])
    table = changed(tables.labels, put(column, row, [1.0] * (length - 1) + [value]))
    refuses(*train_verb(labels=table), says=(table, f"row {row}", column, "[0, 1]", value))


def test_fewer_labels_than_steps(refuses, changed, tables, train_verb):
    steps = len(pd.read_parquet(tables.labels)["completions"].iloc[1])
    table = changed(tables.labels, put("labels", 1, [1.0] * (steps + 2)))
    refuses(*train_verb(labels=table), says=(table, "row 1", f"{steps} completions", f"{steps + 2} labels"))


def test_same_solution_labelled_twice(refuses, changed, tables, train_verb):
    table = changed(tables.labels, lambda frame: pd.concat([frame, frame.iloc[[0]]]))
    question = pd.read_parquet(tables.labels)["prompt"].iloc[0]
    refuses(*train_verb(labels=table), says=(table, "row 18", "duplicate key, the same as row 0", question[:30]))


@pytest.mark.parametrize("column", ["prompt", "completions", "soft_labels", "correct"])
def test_label_table_without_a_column(column, refuses, changed, tables, train_verb):
    table = changed(tables.labels, lambda frame: frame.drop(columns=column))
    refuses(*train_verb(labels=table), says=(table, f"column '{column}' is missing"))


@pytest.mark.parametrize("column", ["prompt", "completions", "labels"])
def test_label_table_with_an_empty_cell(column, refuses, changed, tables, train_verb):
    table = changed(tables.labels, put(column, 2, None))
    refuses(*train_verb(labels=table), says=(table, "row 2", column))


def test_bad_labels_are_reported_in_one_sentence(refuses, changed, tables, train_verb, caplog):
    table = changed(tables.labels, lambda frame: frame.head(0))
    text = refuses(*train_verb(labels=table), says=(table, "no row", "labels"))
    assert len(text.splitlines()) == 1 and caplog.messages == []


def test_validation_labels_missing(refuses, train_verb, tmp_path):
    nowhere = tmp_path / "nowhere.parquet"
    refuses(*train_verb(validation=nowhere), says=(nowhere, "no such file", "labels"))


def test_validation_labels_of_several_prompts_with_one_question_id(refuses, changed, tables, train_verb):
    table = changed(tables.labels, lambda frame: frame.assign(question_id="only"))
    says = (table, "question_id 'only' has 6 prompts; expected an own id for each question")
    refuses(*train_verb(validation=table), says=says)


def test_validation_labels_of_one_question(run_cli, changed, tables, train_verb):
    one = pd.read_parquet(tables.labels)["question_id"].iloc[0]
    table = changed(tables.labels, lambda frame: frame[frame["question_id"] == one])
    assert run_cli(*train_verb(validation=table))[0] == 0


def test_labels_without_any_step(refuses, changed, tables, train_verb):
    def bare(frame: pd.DataFrame) -> pd.DataFrame:
        first = frame.head(1)
        columns = ("completions", "labels", "soft_labels", "hits", "counts")
        return first.assign(**{name: pd.Series([[]], dtype=object) for name in columns})

    table = changed(tables.labels, bare)
    refuses(*train_verb(labels=table), says=(table, "no solution has a step"))


# ---------------------------------------------------------------- checkpoints


def in_another_format(table, form, out):
    frame = formats.read(table, form)
    SolutionFormat(step_separator=" . ").mark(frame)
    formats.write(frame, form, out)
    return out


def test_rollouts_of_another_solution_format_are_not_scored(refuses, checkpoint, tables, out, tmp_path):
    other = in_another_format(tables.rollouts, formats.ROLLOUTS, tmp_path / "other.parquet")
    cell = SimpleNamespace(questions=tables.questions, rollouts=other)
    refuses(*score_verb(checkpoint, cell, out), says=(other, "solution format", checkpoint))


def test_tables_keep_the_solution_format(tables, tmp_path):
    other = in_another_format(tables.rollouts, formats.ROLLOUTS, tmp_path / "other.parquet")
    with pytest.raises(PqmError, match="solution format"):
        SolutionFormat().expect(formats.read(other, formats.ROLLOUTS), other, tmp_path)
    SolutionFormat(step_separator=" . ").expect(formats.read(other, formats.ROLLOUTS), other, tmp_path)
    SolutionFormat().expect(formats.read(tables.rollouts, formats.ROLLOUTS), tables.rollouts, tmp_path)


@pytest.fixture
def formless(checkpoint, tmp_path):
    folder = tmp_path / "formless"
    shutil.copytree(checkpoint, folder)
    (folder / FILE_NAME).unlink()
    return folder


def test_checkpoint_without_solution_format(refuses, formless, tables, out):
    refuses(*score_verb(formless, tables, out), says=(formless / FILE_NAME, "missing"))


def test_backbone_without_solution_format(refuses, formless, train_verb):
    refuses(*train_verb(backbone=formless), says=(formless / FILE_NAME, "missing"))


@pytest.mark.parametrize("text", ["{", "[]", '{"step_targets": "+"}', '{"step_token": 5}'])
def test_checkpoint_with_a_solution_format_that_is_none(text, formless):
    (formless / FILE_NAME).write_text(text)
    with pytest.raises(PqmError, match="not a solution format") as error:
        load_reward_model(formless)
    assert "\n" not in str(error.value)


def test_step_token_that_the_tokenizer_splits(refuses, formless, tables, out):
    SolutionFormat(step_token=" . =").save(formless)
    refuses(*score_verb(formless, tables, out), says=("' . ='", "one token"))


def test_checkpoint_missing(refuses, tables, tmp_path, out):
    refuses(*score_verb(tmp_path / "nowhere", tables, out), says=(tmp_path / "nowhere",))


def test_language_model_missing(refuses, tables, tmp_path, out):
    refuses(*score_verb(tmp_path / "nowhere", tables, out, "likelihood"), says=(tmp_path / "nowhere",))


def test_language_model_scored_as_a_reward_model(refuses, policy, tables, out):
    refuses(*score_verb(policy, tables, out), says=(policy, "the weights 'score.", "--kind likelihood"))


def test_reward_model_scored_as_a_language_model(refuses, checkpoint, tables, out):
    refuses(*score_verb(checkpoint, tables, out), "--kind", "likelihood", says=(checkpoint, "lm_head.weight", "--kind reward"))


def test_unknown_kind_of_scores(refuses, tables, checkpoint, out):
    refuses(*score_verb(checkpoint, tables, out, "guess"), says=("guess", "reward or likelihood"))


def test_score_tables_for_some_cells_only(refuses, tables, checkpoint, out):
    verb = [*score_verb(checkpoint, tables, out), "--questions", tables.questions]
    refuses(*verb, says=("2 --questions", "1 --rollouts", "1 --output"))


# ---------------------------------------------------------------- scores


def test_good_scores_are_judged(run_cli, tables):
    code, text = run_cli(*judge_verb(tables.grades, tables.scores, (1, 4)))
    assert (code, text) == (0, "")


def test_sample_without_score(refuses, changed, tables):
    table = changed(tables.scores, lambda frame: frame.drop(index=6))
    lost = pd.read_parquet(tables.scores).iloc[6]
    refuses(*judge_verb(tables.grades, table), says=(table, f"question '{lost.question_id}'", f"sample {lost.sample_id}"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_no_number(value, refuses, changed, tables):
    table = changed(tables.scores, put("step_scores", 7, [0.5, value]))
    bad = pd.read_parquet(tables.scores).iloc[7]
    said = (table, "row 7", f"question '{bad.question_id}'", f"sample {bad.sample_id}", "step_scores", "finite", value)
    refuses(*judge_verb(tables.grades, table), says=said)


def test_fewer_samples_than_n(refuses, tables):
    name = sorted(pd.read_parquet(tables.grades)["question_id"])[0]
    refuses(*judge_verb(tables.grades, tables.scores, (1, 8)), says=(f"'{name}'", "4 samples", "n = 8"))


def test_one_question_with_fewer_samples_than_n(refuses, changed, tables):
    name = pd.read_parquet(tables.grades)["question_id"].iloc[-1]
    grades = changed(tables.grades, lambda frame: frame.iloc[:-1])
    refuses(*judge_verb(grades, tables.scores, (4,)), says=(f"'{name}'", "3 samples", "n = 4"))


def test_unknown_aggregation(refuses, tables):
    refuses(*judge_verb(tables.grades, tables.scores, aggregation="median"), says=("median", "min", "product"))


def test_best_of_none(run_cli, tables):
    code, text = run_cli(*judge_verb(tables.grades, tables.scores, (0,)))
    assert code == 2 and "greater than or equal to 1" in text


# ---------------------------------------------------------------- paper


def test_times_of_nothing(refuses, tmp_path):
    refuses("paper", "times", tmp_path, says=(tmp_path, "no benchmark file"))


# ---------------------------------------------------------------- the process


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "grades", "--output", "o", "--questions", "none.parquet", "--rollouts", "none.parquet"], "none.parquet"),
        (["questions", "none.yaml", "tiny", "--output", "o"], "none.yaml"),
    ],
)
def test_exit_code_of_the_process(arguments, words, tmp_path):
    command = [sys.executable, "-m", "pqm.cli", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert words in ended.stderr and len(ended.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
