"""Readers of published label sets, on rows in the publishers' formats."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from published_rows import EGGS, MATH_SHEPHERD, PRM800K, STEPWISE, completion, lines, prm800k
from small import TRAINING

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.records import Records
from pqm.labels.published import _READERS, published_labels
from pqm.models.reward_model import Encoder, reward_model
from pqm.solution_format import SolutionFormat
from pqm.study.labels import PublishedLabelsConfig
from pqm.study.reading import load_study
from pqm.train.data import examples

ReadLabels = Callable[..., pd.DataFrame]


@pytest.fixture
def read_labels(tmp_path: Path) -> ReadLabels:
    """The label table of records in a format, after writing and reading it."""

    def read(form: str, records: list[Any], **more: Any) -> pd.DataFrame:
        lines(tmp_path / "corpus.jsonl", records)
        source = {"kind": "file", "format": form, "path": "corpus.jsonl"}
        table = published_labels(PublishedLabelsConfig(source=source, **more), tmp_path)
        formats.write(table, formats.LABELS, tmp_path / "labels.parquet")
        return formats.read(tmp_path / "labels.parquet", formats.LABELS)

    return read


def test_math_shepherd(read_labels, capsys):
    table = read_labels("math-shepherd", MATH_SHEPHERD)
    assert table["prompt"].tolist() == [EGGS, EGGS]
    assert [list(steps) for steps in table["completions"]] == [
        ["Step 1: She has 3 + 4 = 7 eggs.", "Step 2: The answer is: 7"],
        ["Step 1: Say книж, 3 \nso far.", "Step 2: The answer is: 3"],
    ]
    assert [list(labels) for labels in table["labels"]] == [[1, 1], [1, 0]]
    assert table["answer"].tolist() == ["7", "3"] and table["correct"].tolist() == [True, False]
    assert set(table["method"]) == {"published math-shepherd, hard labels only"}
    said = capsys.readouterr().err
    assert "6 rows, 3 solutions, 66.7 %" in said and "duplicates: 1" in said
    for reason in (
        "1 without a question or without steps",
        "1 with a label that ends in neither + nor -",
        "1 with more or fewer labels than steps",
    ):
        assert reason in said


def read_by_the_authors(row: dict[str, str]) -> tuple[str, list[str], list[int]] | None:
    """What the authors' preprocessing makes of a row of Math-Shepherd; None if it skips the row."""
    parts = [part for part in re.split(r"Step \d+:", row["input"]) if part.strip() != ""]
    if len(parts) <= 1:
        return None
    steps = [f"Step {place + 1}: " + part.strip().replace("ки", "").strip() for place, part in enumerate(parts[1:])]
    labelled = [part.strip() for part in re.split(r"Step \d+:", row["label"])[1:]]
    if any(part[-1:] not in ("+", "-") for part in labelled) or len(labelled) != len(steps):
        return None
    return parts[0].strip(), steps, [1 if part[-1] == "+" else 0 for part in labelled]


@pytest.mark.parametrize(
    "row",
    [
        ("Q? Step 1: a + bки\nStep 2: c ки", "Q? Step 1: a + b+\nStep 2: c -"),
        ("Step 1: a ки\nStep 2: b ки\nStep 3: c ки", "Step 1: a +\nStep 2: b +\nStep 3: c +"),
        (" Step 1: a ки", " Step 1: a +"),
        ("Q? Step 1: a ки\nStep 2: \nStep 3: b ки", "Q? Step 1: a +\nStep 2: \nStep 3: b +"),
        ("Q? Step 1: a ки\nStep 2: \nStep 3: b ки", "Q? Step 1: a +\nStep 2: +\nStep 3: b +"),
        ("Q? Step 1: a ки\nStep 2: \nStep 3: b ки", "Q? Step 1: a +\nStep 2: b -"),
        ("Q? Step 1: ки\nStep 2: b ки", "Q? Step 1: +\nStep 2: b +"),
        ("Q? Step 1: ки a ки ки", "Q? Step 1: + a + +"),
    ],
)
def test_rows_are_read_or_skipped_as_in_the_authors_code(row, read_labels):
    record = {"input": row[0], "label": row[1]}
    expected = read_by_the_authors(record)
    known = {"input": "known? Step 1: yes ки", "label": "known? Step 1: yes +"}
    table = read_labels("math-shepherd", [known, record])
    found = [(one.prompt, list(one.completions), list(one.labels)) for one in table.itertuples() if one.prompt != "known?"]
    assert found == ([expected] if expected else [])


def test_random_rows_are_read_or_skipped_as_in_the_authors_code():
    random, kept = Random(0), 0
    pieces = ["Step 1:", "Step 2:", "Step 3:", " ", " a", " bки", " ки", "\n", "+", "-", " книжки", "Q?"]
    for _ in range(5000):
        text = [random.choice(pieces) for _ in range(random.randint(1, 10))]
        labelled = [random.choice("+-") if piece.strip() == "ки" else piece for piece in text]
        row = {"input": "".join(text), "label": "".join(labelled)}
        found = [
            (one.question, one.steps, one.labels) for one in _READERS["math-shepherd"](Records("", iter([(0, row)])), Counter())
        ]
        expected = read_by_the_authors(row)
        assert found == ([expected] if expected else []), row
        kept += len(found)
    assert kept > 200


def test_counts_of_a_whole_corpus_are_asserted(read_labels):
    counts = {"rows": 6, "solutions": 3, "wrong_endings": 66.7}
    assert len(read_labels("math-shepherd", MATH_SHEPHERD, counts=counts)) == 2
    with pytest.raises(PqmError, match=r"rows 5, expected 6; the corpus is incomplete"):
        read_labels("math-shepherd", MATH_SHEPHERD[:5], counts=counts)
    with pytest.raises(PqmError, match=r"wrong_endings 66\.6667, expected 63\.4"):
        read_labels("math-shepherd", MATH_SHEPHERD, counts=counts | {"wrong_endings": 63.4})


def test_prm800k(read_labels, capsys):
    table = read_labels("prm800k", PRM800K)
    found = [(list(row.completions), list(row.labels), row.correct) for row in table.itertuples()]
    assert found == [
        (["Add.", "It is fine.", "It is 3."], [1, 1, 0], False),
        (["Subtract."], [0], False),
        (["Sum.", "So 4."], [1, 0], False),
        (["Sum.", "1 + 1 = 2.", "# Answer\n\n2"], [1, 1, 1], True),
    ]
    said = capsys.readouterr().err
    assert "1 about a bad problem" in said and "1 without a rated step" in said


def test_prm800k_of_a_solution_that_was_given_up_is_not_right(read_labels):
    steps = [
        {"completions": [completion("Add.", 1)], "human_completion": None, "chosen_completion": 0},
        {"completions": [completion("Hm.", None)], "human_completion": None, "chosen_completion": 0},
    ]
    table = read_labels("prm800k", [prm800k(steps, "give_up")])
    assert [list(one) for one in table["completions"]] == [["Add."]] and not table["correct"].any()


@pytest.mark.parametrize("rows", ["json", "parquet"])
def test_stepwise(rows, read_labels, tmp_path, capsys):
    if rows == "json":
        table = read_labels("stepwise", STEPWISE)
    else:
        pd.DataFrame(STEPWISE).to_parquet(tmp_path / "rows.parquet")
        source = {"kind": "file", "format": "stepwise", "path": "rows.parquet"}
        table = published_labels(PublishedLabelsConfig(source=source), tmp_path)
    assert [list(labels) for labels in table["labels"]] == [[1.0, 1.0], [1.0, 0.0]]
    assert table["correct"].tolist() == [True, False]
    assert table["question_id"].nunique() == 1
    assert "1 without steps" in capsys.readouterr().err


def test_soft_stepwise_labels_are_shares_of_right_completions(read_labels):
    table = read_labels("stepwise", [{"prompt": "1 + 1?", "completions": ["a", "b", "c"], "labels": [0.75, 0.25, 0]}])
    assert list(table["soft_labels"][0]) == [0.75, 0.25, 0] and list(table["labels"][0]) == [1, 1, 0]
    assert "hard" not in table["method"][0]


def test_stepwise_labels_may_be_the_words_true_and_false(read_labels):
    table = read_labels("stepwise", [{"prompt": "1 + 1?", "completions": ["a", "b"], "labels": ["True", "false"]}])
    assert list(table["labels"][0]) == [1, 0] and not table["correct"][0]


def test_long_values_are_shortened_in_messages(read_labels):
    with pytest.raises(PqmError) as error:
        read_labels("stepwise", [{"prompt": "Q?", "completions": ["a"], "labels": ["+" * 50_000]}])
    assert len(str(error.value)) < 400 and "row 0: expected labels" in str(error.value)


def test_shares_of_the_questions_are_disjoint_and_complete(read_labels):
    rows = [{"prompt": f"{number // 2} + 1?", "completions": [f"{number}"], "labels": [True]} for number in range(400)]
    parts = [read_labels("stepwise", rows, share=share) for share in ((0.0, 0.9), (0.9, 1.0))]
    questions = [set(part["prompt"]) for part in parts]
    assert not questions[0] & questions[1] and len(questions[0] | questions[1]) == 200
    assert len(parts[0]) + len(parts[1]) == 400
    assert 8 <= len(questions[1]) <= 35  # 20 expected


def test_published_labels_train(read_labels, policy):
    _, tokenizer = reward_model(policy, seed=0)
    data = examples(read_labels("prm800k", PRM800K), Encoder(tokenizer, SolutionFormat()), "hard")
    assert data[0].labels == (1, 1, 0)
    assert all(len(one.encoded.step_ends) == len(one.labels) for one in data)


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("math-shepherd", {"input": "Q? Step 1: a ки"}, "row 1: expected 'label', a text"),
        ("math-shepherd", {"input": 1, "label": "Q? Step 1: a +"}, "row 1: expected 'input', a text, found 1"),
        ("prm800k", {"question": {"problem": "Q?"}}, "row 1: key 'label' is missing"),
        ("prm800k", prm800k([{"completions": [completion("a", 2)], "human_completion": None, "chosen_completion": 0}], "solution"), "row 1"),
        ("prm800k", prm800k([{"completions": [completion("a", 1)], "human_completion": None, "chosen_completion": 4}], "solution"), "row 1"),
        ("prm800k", {"question": "Q?", "label": {}}, "row 1: a value has another type"),
        ("stepwise", {"prompt": "Q?", "completions": ["a", "b"], "labels": [True]}, "row 1: 2 completions but 1 labels"),
        ("stepwise", {"prompt": "Q?", "completions": "a", "labels": [True]}, "row 1: expected completions, a list of texts"),
        ("prm800k", prm800k([{"completions": [completion("a", True)], "human_completion": None, "chosen_completion": 0}], "solution"), "row 1"),
        ("prm800k", prm800k([{"completions": [completion("a", 1)], "human_completion": None, "chosen_completion": -1}], "solution"), "row 1"),
        ("prm800k", {"question": {"problem": " "}, "label": {"steps": [], "finish_reason": "solution"}}, "row 1: the problem is empty"),
        ("stepwise", {"prompt": " ", "completions": ["a"], "labels": [True]}, "row 1: the prompt is empty"),
        ("stepwise", {"prompt": "Q?", "completions": ["a"], "labels": ["yes"]}, "row 1: expected labels true, false or in"),
        ("stepwise", {"prompt": "Q?", "completions": ["a"], "labels": [2]}, "row 1: expected labels true, false or in"),
        ("stepwise", {"prompt": "Q?", "completions": ["a"], "labels": ["+"]}, "row 1: expected labels true, false or in"),
        ("stepwise", ["Q?"], "row 1: expected a JSON object, found list"),
    ],
)  # fmt: skip
def test_malformed_row_is_named(form, row, words, read_labels):
    good = {"math-shepherd": MATH_SHEPHERD, "prm800k": PRM800K, "stepwise": STEPWISE}[form][0]
    with pytest.raises(PqmError, match=re.escape(words)):
        read_labels(form, [good, row])


def test_corpus_in_another_format_is_refused(read_labels):
    with pytest.raises(PqmError, match="no labelled solution in 1 rows"):
        read_labels("math-shepherd", [{"input": "Q?", "label": "Q?"}])


def test_labels_verb_reads_published_labels(run_cli, settings, tmp_path):
    lines(tmp_path / "rows.jsonl", STEPWISE)
    config = settings("labels", source={"kind": "file", "format": "stepwise", "path": "rows.jsonl"}, share=[0.0, 1.0])
    out = tmp_path / "out.parquet"
    code, _ = run_cli("labels", config, "--output", out, "--published", tmp_path)
    assert code == 0 and len(formats.read(out, formats.LABELS)) == 2
    code, text = run_cli("labels", config, "--output", tmp_path / "other.parquet", "--published", tmp_path / "nowhere")
    assert code == 1 and "nowhere/rows.jsonl is missing; get it from its publisher" in text and text.count("\n") == 1
    assert not (tmp_path / "other.parquet").exists()


def test_soft_targets_need_soft_labels(run_cli, write_study, tmp_path, read_labels, policy):
    read_labels("stepwise", STEPWISE)
    table = tmp_path / "labels.parquet"
    run = {"loss": "bce", "targets": "soft", "labels": "a", "backbone": "b"}
    study = write_study(training=TRAINING.model_dump(mode="json"), runs={"soft": run})
    tables = ["--seed", 0, "--labels", table, "--validation", table, "--backbone", policy]
    code, text = run_cli("train", study, "soft", "--output", tmp_path / "out", *tables, "--cache", tmp_path / "cache")
    assert code == 1 and "contains hard labels only" in text and "the run needs soft labels" in text


@pytest.mark.parametrize("source", [{"share": [0.9, 0.1]}, {"share": [0.5]}, {"counts": {"rows": 1, "solutions": 0}}])
def test_label_settings_that_make_no_sense(source, settings):
    with pytest.raises(PqmError, match=rf"line \d+: labels\.tiny\.{next(iter(source))}"):
        load_study(settings("labels", source={"kind": "file", "format": "stepwise", "path": "a.jsonl"}, **source)[0])
