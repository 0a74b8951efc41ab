import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError

from pqm import formats
from pqm.errors import PqmError
from pqm.reward_model import load_reward_model
from pqm.solution import FILE_NAME, SolutionFormat

ROLLOUTS = {"samples": 2, "temperature": 1.0, "max_new_tokens": 4, "questions_per_batch": 3, "seed": 0}
LABELS = {
    "dataset": "tiny",
    "policies": ["tiny"],
    "completer": "tiny",
    "completions": 1,
    "temperature": 1.0,
    "max_new_tokens": 4,
    "questions_per_batch": 3,
    "seed": 0,
}
TRAINING = {
    "seeds": [0],
    "epochs": 1,
    "learning_rate": 0.001,
    "warmup_share": 0.0,
    "clip": 1.0,
    "batch_tokens": 512,
    "weighting": "trajectory",
    "normalizer": "factors",
    "checkpoint_every": 1,
    "validation": "tiny",
}
RUN = {"loss": "bce", "labels": "tiny", "backbone": "tiny"}
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def parts_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "made.parquet"


@pytest.fixture
def refuses(run_cli: Callable[..., tuple[int, str]], tmp_path: Path, out: Path) -> Callable[..., str]:
    """Runs a verb that must fail with one last sentence, or a line for each fault, and leave nothing.

    The sentence holds these words; gives all that the verb said.
    """

    def run(*arguments: object, says: tuple[object, ...], faults: int = 1) -> str:
        code, text = run_cli(*arguments)
        assert code == 1
        said = text.splitlines()
        before, (first, *more) = said[:-faults], said[-faults:]
        assert first.startswith("pqm: ") and not any(line.startswith("pqm: ") for line in [*before, *more])
        for word in says:
            assert str(word) in "\n".join([first, *more])
        assert not out.exists() and not list(tmp_path.glob("out/*"))
        assert parts_below(tmp_path) == []
        return text

    return run


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Path, Callable[[pd.DataFrame], pd.DataFrame]], Path]:
    """A copy of a table after a change, written without any check."""

    def write(table: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
        path = tmp_path / f"changed-{table.name}"
        pq.write_table(pa.Table.from_pandas(change(pd.read_parquet(table)), preserve_index=False), path)
        return path

    return write


def put(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        cells = list(frame[column])
        cells[row] = value
        return frame.assign(**{column: pd.Series(cells, dtype=object)})

    return change


def sample_verb(config: tuple[Path, str], tables: Any, policy: Path, out: Path) -> list[object]:
    work = out.parents[1] / "work"
    return [*("rollouts", "sample", config, "--output", out, "--policy", policy, "--questions", tables.questions, "--work", work)]


def grade_verb(questions: Path, rollouts: Path, out: Path) -> list[object]:
    return ["evaluate", "grades", "--output", out, "--questions", questions, "--rollouts", rollouts]


def score_verb(checkpoint: Path, tables: Any, out: Path, kind: str = "reward") -> list[object]:
    inputs = ["--questions", tables.questions, "--rollouts", tables.rollouts, "--output", out]
    return ["evaluate", "scores", checkpoint, *inputs, "--kind", kind, "--work", out.parents[1] / "work"]


def judge_verb(grades: Path, scores: Path, n: tuple[int, ...] = (1, 2), aggregation: str = "min") -> list[object]:
    sizes = [word for size in n for word in ("--n", size)]
    extra = ["--aggregation", aggregation, "--resamples", "10"]
    return ["evaluate", "judge", "--grades", grades, "--scores", scores, *sizes, *extra]


@pytest.fixture
def train_verb(write_study: Callable[..., Path], tables: Any, policy: Path, out: Path) -> Callable[..., list[object]]:
    def arguments(
        labels: Path = tables.labels, run: dict[str, Any] = RUN, backbone: Path = policy, validation: Path = tables.labels
    ) -> list[object]:
        inputs = ["--labels", labels, "--validation", validation, "--backbone", backbone, "--seed", 0]
        study = write_study("run", runs={"tiny": run}, training=TRAINING)
        return ["train", study, "tiny", "--output", out, *inputs, "--work", out.parents[1] / "work"]

    return arguments


# ---------------------------------------------------------------- settings files


def test_unknown_key(refuses, settings, tables, policy, out):
    config = settings("rollouts", **ROLLOUTS, colour="red")
    text = refuses(*sample_verb(config, tables, policy, out), says=(config[0], ": rollouts.tiny: unknown key 'colour'"))
    assert "did you mean" not in text


def test_misspelled_key(refuses, settings, tables, policy, out):
    content = {key.replace("temperature", "temprature"): value for key, value in ROLLOUTS.items()}
    config = settings("rollouts", **content)
    says = (config[0], "unknown key 'temprature'; did you mean 'temperature'?", "key 'temperature' is missing")
    refuses(*sample_verb(config, tables, policy, out), says=says, faults=2)


def test_misspelled_key_beside_the_right_one(refuses, settings, tables, policy, out):
    config = settings("rollouts", **ROLLOUTS, temprature=1.0)
    refuses(*sample_verb(config, tables, policy, out), says=(config[0], "unknown key 'temprature'; did you mean 'temperature'?"))


def test_wrong_type(refuses, settings, tables, policy, out):
    config = settings("rollouts", **ROLLOUTS | {"samples": "many"})
    refuses(*sample_verb(config, tables, policy, out), says=(config[0], "rollouts.tiny.samples: ", "integer", "'many'"))


def test_not_yaml(refuses, tmp_path, tables, policy, out):
    config = tmp_path / "rollouts.yaml"
    config.write_text("samples: [1, 2\nseed: }")
    refuses(*sample_verb((config, "tiny"), tables, policy, out), says=(config, "line 2: not YAML"))


def test_settings_file_missing(refuses, tmp_path, tables, policy, out):
    config = tmp_path / "nowhere.yaml"
    refuses(*sample_verb((config, "tiny"), tables, policy, out), says=(config, "no such settings file"))


def test_item_that_the_study_does_not_have(refuses, settings, tables, policy, out):
    config = settings("rollouts", "train", **ROLLOUTS)
    says = (config[0], "rollouts has no 'trian'; did you mean 'train'?")
    refuses(*sample_verb((config[0], "trian"), tables, policy, out), says=says)


def test_section_that_the_study_does_not_have(refuses, settings, tables, policy, out):
    study, _ = settings("runs", **RUN)
    inputs = ["--labels", tables.labels, "--validation", tables.labels, "--backbone", policy, "--seed", 0]
    refuses("train", study, "tiny", "--output", out, *inputs, says=(study, "section 'training' is missing"))


def test_zeta_for_bce(refuses, train_verb):
    refuses(*train_verb(run=RUN | {"zeta": 4.0}), says=("run.yaml", "runs.tiny: ", "bce", "remove zeta"))


def test_no_zeta_for_pqm(refuses, train_verb):
    refuses(*train_verb(run=RUN | {"loss": "pqm"}), says=("run.yaml", "runs.tiny: ", "pqm needs zeta"))


# ---------------------------------------------------------------- questions


def question_verb(config: tuple[Path, str], folder: Path, out: Path) -> list[object]:
    return ["questions", config, "--output", out, "--published", folder]


@pytest.fixture
def published(tmp_path: Path, settings: Callable[..., tuple[Path, str]], out: Path) -> Callable[..., list[object]]:
    """Writes these lines as GSM8K's file and gives the verb that reads it."""

    def arguments(*lines: object) -> list[object]:
        (tmp_path / "gsm8k.jsonl").write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
        config = settings("questions", source={"kind": "file", "format": "gsm8k", "path": "gsm8k.jsonl"})
        return question_verb(config, tmp_path, out)

    return arguments


GOOD = {"question": "how many ?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2"}


def test_good_published_file_is_read(run_cli, published, out):
    code, text = run_cli(*published(GOOD))
    assert (code, text) == (0, "")
    assert formats.read(out, formats.QUESTIONS)["answer"].tolist() == ["2"]


@pytest.mark.parametrize("answer", ["1 + 1 = 2\n####", "1 + 1 = 2\n####  ", "1 + 1 = 2"])
def test_published_question_without_gold_answer(answer, refuses, published):
    refuses(*published(GOOD, GOOD | {"answer": answer}), says=("gsm8k.jsonl", "row 1", "without gold answer"))


@pytest.mark.parametrize("key", ["question", "answer"])
def test_published_row_without_a_key(key, refuses, published):
    row = {name: value for name, value in GOOD.items() if name != key}
    refuses(*published(GOOD, GOOD, row), says=("gsm8k.jsonl", "row 2", f"'{key}'", "missing", "gsm8k"))


def test_published_row_that_is_no_object(refuses, published):
    refuses(*published(GOOD, ["question", "answer"]), says=("gsm8k.jsonl", "row 1"))


def test_published_answer_that_is_no_text(refuses, published):
    refuses(*published(GOOD, GOOD | {"answer": 2}), says=("gsm8k.jsonl", "row 1", "answer"))


def test_published_line_that_is_not_json(refuses, published, tmp_path):
    verb = published(GOOD)
    with (tmp_path / "gsm8k.jsonl").open("a") as stream:
        stream.write('{"question": "how\n')
    refuses(*verb, says=("gsm8k.jsonl", "row 1", "not JSON"))


def test_published_file_empty(refuses, published):
    refuses(*published(), says=("gsm8k.jsonl", "empty"))


def test_published_file_missing(refuses, published, tmp_path):
    verb = published(GOOD)
    (tmp_path / "gsm8k.jsonl").unlink()
    refuses(*verb, says=(tmp_path / "gsm8k.jsonl", "missing", "get it from github.com/openai/grade-school-math"))


def test_published_text_with_a_line_separator_is_one_row(run_cli, published, out):
    code, text = run_cli(*published(GOOD | {"question": "one\u2028how many ?"}))
    assert (code, text) == (0, "")
    assert formats.read(out, formats.QUESTIONS)["question"].tolist() == ["one\u2028how many ?"]


def test_upstream_table_that_is_not_given(refuses, settings, tmp_path, out):
    source = {"kind": "stories", "questions": 2, "facts": [1, 1], "seed": 1}
    config = settings("questions", source=source, disjoint_from=["others"])
    refuses(*question_verb(config, tmp_path, out), says=("others",))


def test_question_in_a_disjoint_set(refuses, published, settings, tables, tmp_path, out):
    question = pd.read_parquet(tables.questions)["question"].iloc[0]
    verb = published(GOOD | {"question": question})
    source = {"kind": "file", "format": "gsm8k", "path": "gsm8k.jsonl"}
    settings("questions", source=source, disjoint_from=["questions"])
    refuses(*verb, "--upstream", tables.questions, says=(question, "questions", "disjoint"))


def test_perturbing_a_story_that_fills_the_week(run_cli, settings, tmp_path, out):
    """`adding operation` needs a day that is left."""
    source = {"kind": "stories", "questions": 2, "facts": [7, 7], "seed": 1}
    full = tmp_path / "full.parquet"
    assert run_cli("questions", settings("questions", "full", source=source), "--output", full) == (0, "")
    config = settings("questions", source={"kind": "perturbed-stories", "of": "full", "seed_questions": 2, "seed": 1})
    code, text = run_cli("questions", config, "--output", out, "--upstream", full)
    assert code == 1 and text.startswith("pqm: ") and "full-00000 has a fact on every day" in text
    assert not out.exists()


def test_question_table_without_rows(refuses, changed, tables, out):
    empty = changed(tables.questions, lambda frame: frame.head(0))
    refuses(*grade_verb(empty, tables.rollouts, out), says=(empty, "no row", "questions"))


def test_question_without_text(refuses, changed, tables, out):
    table = changed(tables.questions, put("question", 3, " "))
    refuses(*grade_verb(table, tables.rollouts, out), says=(table, "row 3", "question", "nothing"))


def test_question_table_missing(refuses, tables, tmp_path, out):
    nowhere = tmp_path / "nowhere.parquet"
    refuses(*grade_verb(nowhere, tables.rollouts, out), says=(nowhere, "no such file", "questions"))


# ---------------------------------------------------------------- rollouts, policies


def test_rollouts_cut_in_half(refuses, tables, tmp_path, out):
    cut, content = tmp_path / "cut.parquet", tables.rollouts.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    refuses(*grade_verb(tables.questions, cut, out), says=(cut, "not a whole parquet file"))


def test_rollouts_of_no_byte(refuses, tables, tmp_path, out):
    cut = tmp_path / "cut.parquet"
    cut.touch()
    refuses(*grade_verb(tables.questions, cut, out), says=(cut, "not a whole parquet file"))


def test_rollouts_without_a_column(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: frame.drop(columns="finish_reason"))
    refuses(*grade_verb(tables.questions, table, out), says=(table, "column 'finish_reason' is missing"))


def test_column_of_another_type(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: frame.assign(steps="one step"))
    refuses(*grade_verb(tables.questions, table, out), says=(table, "another type"))


def test_same_sample_twice(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: pd.concat([frame, frame.iloc[[2]]]))
    name = pd.read_parquet(tables.rollouts)["question_id"].iloc[2]
    refuses(*grade_verb(tables.questions, table, out), says=(table, "row 24", "second row", name, "2"))


@pytest.fixture
def stranger(changed, tables):
    return changed(tables.rollouts, put("question_id", 5, "stranger-1"))


def test_grading_rollouts_of_an_unknown_question(refuses, stranger, tables, out):
    refuses(*grade_verb(tables.questions, stranger, out), says=(stranger, "'stranger-1'", tables.questions))


def test_scoring_rollouts_of_an_unknown_question(refuses, stranger, tables, checkpoint, out):
    tables = type(tables)(**vars(tables) | {"rollouts": stranger})
    refuses(*score_verb(checkpoint, tables, out), says=(stranger, "'stranger-1'", tables.questions))


def label_verb(config: tuple[Path, str], completer: Path, tables: Any, rollouts: list[Path], out: Path) -> list[object]:
    given = [word for path in rollouts for word in ("--rollouts", path)]
    inputs = ["--completer", completer, "--questions", tables.questions, *given]
    return ["labels", config, "--output", out, *inputs, "--work", out.parents[1] / "work"]


def test_labelling_rollouts_of_an_unknown_question(refuses, stranger, settings, tables, policy, out):
    verb = label_verb(settings("labels", **LABELS), policy, tables, [stranger], out)
    refuses(*verb, says=(tables.questions, "'stranger-1'"))


def test_other_number_of_rollout_tables_than_policies(refuses, settings, tables, policy, out):
    config = settings("labels", **LABELS)
    verb = label_verb(config, policy, tables, [tables.rollouts, tables.rollouts], out)
    refuses(*verb, says=(config[0], "labels.tiny: ", "1 policies", "2 rollout tables"))


def test_policy_without_end_token(refuses, settings, tables, policy, tmp_path, out):
    folder = tmp_path / "endless"
    shutil.copytree(policy, folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    verb = sample_verb(settings("rollouts", **ROLLOUTS), tables, folder, out)
    refuses(*verb, says=(folder, "no end token", "eos_token"))


def test_policy_folder_missing(refuses, settings, tables, tmp_path, out):
    folder = tmp_path / "nowhere"
    refuses(*sample_verb(settings("rollouts", **ROLLOUTS), tables, folder, out), says=(folder,))


def test_sample_longer_than_the_model_reads(refuses, settings, tables, policy, out):
    config = settings("rollouts", **ROLLOUTS | {"max_new_tokens": 500})
    refuses(*sample_verb(config, tables, policy, out), says=("max_new_tokens 500", "160 positions"))


def test_unfinished_pretraining(refuses, settings, tmp_path, out):
    config = settings("policies", pick={"pretraining": "tiny", "metric": "pass_at_1"})
    folder = tmp_path / "pretraining"
    folder.mkdir()
    refuses("policies", "policy", config, "--output", out, "--pretraining", folder, says=(folder, "snapshots.csv"))


def test_no_snapshot_good_enough(refuses, settings, tmp_path, out):
    config = settings("policies", pick={"pretraining": "tiny", "metric": "pass_at_1", "at_least": 0.9})
    folder = tmp_path / "pretraining"
    folder.mkdir()
    (folder / "snapshots.csv").write_text("snapshot,pass_at_1\na,0.25\nb,0.5\n")
    refuses("policies", "policy", config, "--output", out, "--pretraining", folder, says=(folder, "pass_at_1 0.9", "0.500"))


ARCHITECTURE = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "layers": 2,
    "heads": 2,
    "key_value_heads": 1,
    "max_positions": 160,
    "initializer_range": 0.05,
    "rope_theta": 1000.0,
    "attention_bias": 0.0,
}
PRETRAINING = {
    "phases": [{"steps": 2, "learning_rate": 0.01, "facts": [1, 1]}],
    "snapshot_every": 2,
    "batch_tokens": 256,
    "distraction_share": 0.0,
    "excluded": ["questions"],
    "validation": "questions",
    "seed": 0,
}


def pretrain_verb(config: tuple[Path, str], questions: Path, out: Path) -> list[object]:
    return ["policies", "pretrain", config, "--output", out, "--questions", questions, "--work", out.parents[1] / "work"]


def test_pretraining_without_the_start_that_it_goes_on_from(refuses, settings, tables, out):
    config = settings("pretraining", start="other", **PRETRAINING)
    refuses(*pretrain_verb(config, tables.questions, out), says=("start",))


def test_pretraining_without_the_questions_that_it_excludes(refuses, settings, tables, out):
    config = settings("pretraining", architecture=ARCHITECTURE, **PRETRAINING | {"excluded": ["others"]})
    refuses(*pretrain_verb(config, tables.questions, out), says=("others",))


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
    refuses(*train_verb(labels=table), says=(table, "row 18", "second row", question))


@pytest.mark.parametrize("column", ["prompt", "completions", "soft_labels", "correct"])
def test_label_table_without_a_column(column, refuses, changed, tables, train_verb):
    table = changed(tables.labels, lambda frame: frame.drop(columns=column))
    refuses(*train_verb(labels=table), says=(table, f"column '{column}' is missing"))


@pytest.mark.parametrize("column", ["prompt", "completions", "labels"])
def test_label_table_with_an_empty_cell(column, refuses, changed, tables, train_verb):
    table = changed(tables.labels, put(column, 2, None))
    refuses(*train_verb(labels=table), says=(table, "row 2", column))


def test_nothing_but_the_sentence_is_said_about_bad_labels(refuses, changed, tables, train_verb, caplog):
    table = changed(tables.labels, lambda frame: frame.head(0))
    text = refuses(*train_verb(labels=table), says=(table, "no row", "labels"))
    assert len(text.splitlines()) == 1 and caplog.messages == []


def test_validation_labels_missing(refuses, train_verb, tmp_path):
    nowhere = tmp_path / "nowhere.parquet"
    refuses(*train_verb(validation=nowhere), says=(nowhere, "no such file", "labels"))


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


@pytest.mark.parametrize("text", ["{", "[]", '{"step_mark": "+"}'])
def test_checkpoint_with_a_solution_format_that_is_none(text, formless):
    (formless / FILE_NAME).write_text(text)
    with pytest.raises(PqmError, match="not a solution format"):
        load_reward_model(formless)


def test_step_token_that_the_tokenizer_splits(refuses, formless, tables, out):
    SolutionFormat(step_token=" . =").save(formless)
    refuses(*score_verb(formless, tables, out), says=("' . ='", "one token"))


def test_checkpoint_missing(refuses, tables, tmp_path, out):
    refuses(*score_verb(tmp_path / "nowhere", tables, out), says=(tmp_path / "nowhere",))


def test_language_model_missing(refuses, tables, tmp_path, out):
    refuses(*score_verb(tmp_path / "nowhere", tables, out, "likelihood"), says=(tmp_path / "nowhere",))


def test_language_model_scored_as_a_reward_model(refuses, policy, tables, out):
    refuses(*score_verb(policy, tables, out), says=(policy, "no weights 'score.", "--kind likelihood"))


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


# ---------------------------------------------------------------- no space left


def full(*arguments: Any, **options: Any) -> None:
    """Writes a little and finds the disk full."""
    for argument in arguments:
        if isinstance(argument, Path):
            argument.write_bytes(b"half a ta")
    raise NO_SPACE


@pytest.fixture
def earlier(out: Path) -> Path:
    out.parent.mkdir(parents=True)
    out.write_bytes(b"earlier")
    return out


@pytest.mark.parametrize("broken", ["pyarrow.parquet.write_table", "os.replace"])
def test_no_space_for_a_table(broken, run_cli, tables, earlier, monkeypatch, tmp_path):
    monkeypatch.setattr(broken, full if "table" in broken else lambda *_: (_ for _ in ()).throw(NO_SPACE))
    code, text = run_cli(*grade_verb(tables.questions, tables.rollouts, earlier))
    assert code == 1
    assert text.startswith(f"pqm: {earlier}") and "no space left" in text and len(text.splitlines()) == 1
    assert earlier.read_bytes() == b"earlier"
    assert list(earlier.parent.iterdir()) == [earlier] and parts_below(tmp_path) == []


def test_no_quota_for_a_table(run_cli, tables, earlier, monkeypatch):
    monkeypatch.setattr(pq, "write_table", lambda *_: (_ for _ in ()).throw(OSError(errno.EDQUOT, "Disk quota exceeded")))
    code, text = run_cli(*grade_verb(tables.questions, tables.rollouts, earlier))
    assert code == 1 and "no space left" in text and earlier.read_bytes() == b"earlier"


def test_no_space_for_a_shard(refuses, settings, tables, policy, monkeypatch, out):
    monkeypatch.setattr(pd.DataFrame, "to_pickle", lambda frame, path: full(path))
    verb = sample_verb(settings("rollouts", **ROLLOUTS), tables, policy, out)
    refuses(*verb, says=("no space left",))


@pytest.fixture
def earlier_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("earlier")
    return folder


def untouched(folder: Path) -> bool:
    return [path.name for path in folder.parent.iterdir()] == [folder.name] and (folder / "weights").read_text() == "earlier"


def test_no_space_within_a_folder(earlier_folder):
    with pytest.raises(PqmError, match=f"{earlier_folder}: no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
        raise NO_SPACE
    assert untouched(earlier_folder)


def test_no_space_for_the_rename_of_a_folder(earlier_folder, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(NO_SPACE))
    with pytest.raises(PqmError, match="no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
    assert untouched(earlier_folder)


def torch_on_a_full_disk(content: Any, target: Any, **options: Any) -> None:
    """What torch.save raises: no OSError, and one in its context only where it writes to an open file."""
    complaint = "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"
    if isinstance(target, (str, Path)):
        raise RuntimeError(complaint)
    try:
        raise NO_SPACE
    except OSError:
        raise RuntimeError(complaint)  # noqa: B904


def test_no_space_for_the_weights_of_a_model(earlier_folder):
    complaint = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(PqmError, match="no space left"), formats.whole_folder(earlier_folder) as part:
        (part / "weights").write_text("later")
        raise complaint
    assert untouched(earlier_folder)


def test_no_space_for_the_state_of_a_training(refuses, train_verb, monkeypatch):
    monkeypatch.setattr(torch, "save", torch_on_a_full_disk)
    refuses(*train_verb(), says=("state-", "no space left"))


def test_other_errors_are_not_called_lack_of_space(earlier_folder):
    with pytest.raises(PermissionError), formats.whole_folder(earlier_folder):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert untouched(earlier_folder)
