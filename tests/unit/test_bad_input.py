"""Settings, questions, rollouts and policies that verbs refuse in one sentence, without any output."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from verbs import LABELS, ROLLOUTS, RUN, grade_verb, label_verb, pretrain_verb, put, question_verb, sample_verb, score_verb

from pqm.io import formats

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
    refuses(*train_verb(run=RUN | {"loss_settings": {"zeta": 4.0}}), says=("run.yaml", "runs.tiny: loss bce: unknown key 'zeta'"))


def test_no_zeta_for_pqm(refuses, train_verb):
    refuses(*train_verb(run=RUN | {"loss": "pqm"}), says=("run.yaml", "runs.tiny: ", "loss pqm: key 'zeta' is missing"))


# ---------------------------------------------------------------- questions


@pytest.fixture
def published(tmp_path: Path, settings: Callable[..., tuple[Path, str]], out: Path) -> Callable[..., list[object]]:
    """Write these lines as a GSM8K file, and return the verb that reads it."""

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
    refuses(*published(GOOD, GOOD | {"answer": answer}), says=("gsm8k.jsonl", "row 1", "the gold answer is empty"))


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


def test_a_long_question_in_a_disjoint_set_is_shortened(run_cli, published, settings, tables, changed, out):
    upstream = changed(tables.questions, put("question", 0, "how many ? " * 5000))
    verb = published(GOOD | {"question": "how many ? " * 5000})
    source = {"kind": "file", "format": "gsm8k", "path": "gsm8k.jsonl"}
    settings("questions", source=source, disjoint_from=[upstream.stem])
    code, text = run_cli(*verb, "--upstream", upstream)
    assert code == 1 and "shares a question with" in text and len(text) < 500


def test_published_text_with_a_line_separator_is_one_row(run_cli, published, out):
    code, text = run_cli(*published(GOOD | {"question": "one\u2028how many ?"}))
    assert (code, text) == (0, "")
    assert formats.read(out, formats.QUESTIONS)["question"].tolist() == ["one\u2028how many ?"]


def test_upstream_table_that_is_not_given(refuses, settings, tmp_path, out):
    source = {"kind": "word-problems", "questions": 2, "facts": [1, 1], "seed": 1}
    config = settings("questions", source=source, disjoint_from=["others"])
    refuses(*question_verb(config, tmp_path, out), says=("others",))


def test_question_in_a_disjoint_set(refuses, published, settings, tables, tmp_path, out):
    question = pd.read_parquet(tables.questions)["question"].iloc[0]
    verb = published(GOOD | {"question": question})
    source = {"kind": "file", "format": "gsm8k", "path": "gsm8k.jsonl"}
    settings("questions", source=source, disjoint_from=["questions"])
    refuses(*verb, "--upstream", tables.questions, says=(question, "questions", "disjoint"))


def test_perturbing_a_word_problem_that_fills_the_week(run_cli, settings, tmp_path, out):
    """`adding operation` needs a free day."""
    source = {"kind": "word-problems", "questions": 2, "facts": [7, 7], "seed": 1}
    full = tmp_path / "full.parquet"
    assert run_cli("questions", settings("questions", "full", source=source), "--output", full) == (0, "")
    config = settings("questions", source={"kind": "perturbed-word-problems", "of": "full", "seed_questions": 2, "seed": 1})
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
    refuses(*grade_verb(tables.questions, cut, out), says=(cut, "not a complete parquet file"))


def test_rollouts_of_no_byte(refuses, tables, tmp_path, out):
    cut = tmp_path / "cut.parquet"
    cut.touch()
    refuses(*grade_verb(tables.questions, cut, out), says=(cut, "not a complete parquet file"))


def test_rollouts_without_a_column(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: frame.drop(columns="finish_reason"))
    refuses(*grade_verb(tables.questions, table, out), says=(table, "column 'finish_reason' is missing"))


def test_column_of_another_type(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: frame.assign(steps="one step"))
    refuses(*grade_verb(tables.questions, table, out), says=(table, "another type"))


def test_same_sample_twice(refuses, changed, tables, out):
    table = changed(tables.rollouts, lambda frame: pd.concat([frame, frame.iloc[[2]]]))
    name = pd.read_parquet(tables.rollouts)["question_id"].iloc[2]
    refuses(*grade_verb(tables.questions, table, out), says=(table, "row 24", "duplicate key", name, "2"))


@pytest.fixture
def stranger(changed, tables):
    return changed(tables.rollouts, put("question_id", 5, "stranger-1"))


def test_grading_rollouts_of_an_unknown_question(refuses, stranger, tables, out):
    refuses(*grade_verb(tables.questions, stranger, out), says=(stranger, "'stranger-1'", tables.questions))


def test_a_long_question_id_is_shortened(run_cli, changed, tables, out):
    table = changed(tables.rollouts, put("question_id", 5, "stranger " * 5000))
    code, text = run_cli(*grade_verb(tables.questions, table, out))
    assert code == 1 and "answers question 'stranger" in text and len(text) < 600


@pytest.mark.parametrize("name", ["EOS", "eos_token", "Stop", None])
def test_samples_that_ended_by_another_name_are_graded_alike(name, run_cli, changed, tables, tmp_path):
    table = changed(tables.rollouts, lambda frame: frame.assign(finish_reason=pd.Series([name] * len(frame), dtype=object)))
    made = [tmp_path / "ours.parquet", tmp_path / "theirs.parquet"]
    for rollouts, path in zip((tables.rollouts, table), made):
        assert run_cli(*grade_verb(tables.questions, rollouts, path))[0] == 0
    ours, theirs = (formats.read(path, formats.GRADES) for path in made)
    pd.testing.assert_frame_equal(ours, theirs)
    assert ours["answer"].notna().any()


def test_samples_that_ended_for_an_unknown_reason_are_refused(refuses, changed, tables, out):
    table = changed(tables.rollouts, put("finish_reason", 3, "abort"))
    refuses(*grade_verb(tables.questions, table, out), says=(table, "row 3", "finish_reason", "'abort'"))


def test_scoring_rollouts_of_an_unknown_question(refuses, stranger, tables, checkpoint, out):
    tables = type(tables)(**vars(tables) | {"rollouts": stranger})
    refuses(*score_verb(checkpoint, tables, out), says=(stranger, "'stranger-1'", tables.questions))


def test_labelling_rollouts_of_an_unknown_question(refuses, stranger, settings, tables, policy, out):
    verb = label_verb(settings("labels", **LABELS), policy, tables, [stranger], out)
    refuses(*verb, says=(tables.questions, "'stranger-1'"))


def test_other_number_of_rollout_tables_than_policies(refuses, settings, tables, policy, out):
    config = settings("labels", **LABELS)
    verb = label_verb(config, policy, tables, [tables.rollouts, tables.rollouts], out)
    refuses(*verb, says=(config[0], "labels.tiny: ", "1 policies", "2 --rollouts"))


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
    config = settings("policies", pick={"pretraining": "tiny"})
    folder = tmp_path / "pretraining"
    folder.mkdir()
    refuses("policies", "policy", config, "--output", out, "--pretraining", folder, says=(folder, "snapshots.csv"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "not a table of snapshots"),
        ("snapshot,pass_at_1\na,0.25\n", "column 'share' is missing"),
        ("share\n1.0\n", "column 'snapshot' is missing"),
        ("snapshot,share\n", "a last row with share 1"),
        ("snapshot,share\na,0.5\n", "a last row with share 1"),
        ("snapshot,share\na,x\n", "not a table of snapshots"),
    ],
)
def test_no_table_of_snapshots(table, says, refuses, settings, tmp_path, out):
    folder = tmp_path / "pretraining"
    folder.mkdir()
    (folder / "snapshots.csv").write_text(table)
    config = settings("policies", pick={"pretraining": "tiny", "share": 0.5})
    refuses("policies", "policy", config, "--output", out, "--pretraining", folder, says=(folder / "snapshots.csv", says))


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


def test_pretraining_without_the_start_that_it_continues(refuses, settings, tables, out):
    config = settings("pretraining", start="other", **PRETRAINING)
    refuses(*pretrain_verb(config, tables.questions, out), says=("start",))


def test_pretraining_without_the_questions_that_it_excludes(refuses, settings, tables, out):
    config = settings("pretraining", architecture=ARCHITECTURE, **PRETRAINING | {"excluded": ["others"]})
    refuses(*pretrain_verb(config, tables.questions, out), says=("others",))
