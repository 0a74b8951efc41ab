"""Published solutions as rollouts: matching by the question's text, reasons of endings, and steps."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from published_rows import lines

from pqm.errors import PqmError
from pqm.io import formats
from pqm.rollouts.published import read_solutions

Read = Callable[..., pd.DataFrame]


def asked(folder: Path, *questions: str) -> Path:
    rows = [
        {"question_id": f"q-{number}", "question": text, "answer": "5", "solution": [], "cluster": "c", "perturbation": ""}
        for number, text in enumerate(questions)
    ]
    formats.write(pd.DataFrame(rows), formats.QUESTIONS, folder / "questions.parquet")
    return folder / "questions.parquet"


def gsm8k(question: Any, solution: Any = "5", **more: Any) -> dict[str, Any]:
    return {"question": question, "a": {"solution": solution} | more}


def pqm(question: Any, *texts: Any, **more: Any) -> dict[str, Any]:
    return {"question": question, "responses": [{"text": text, "model_name": "a"} | more for text in texts]}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The rollouts in a file with these records, after writing and reading them."""

    def run(form: str, records: list[Any], questions: tuple[str, ...] = ("one?", "two?"), model: str = "a") -> pd.DataFrame:
        table = read_solutions(form, lines(tmp_path / "file.jsonl", records), asked(tmp_path, *questions), model)
        formats.write(table, formats.ROLLOUTS, tmp_path / "rollouts.parquet")
        return formats.read(tmp_path / "rollouts.parquet", formats.ROLLOUTS)

    return run


@pytest.mark.parametrize(("form", "row"), [("gsm8k", gsm8k), ("pqm", pqm)])
class TestBothFormats:
    def test_solutions_belong_to_their_questions_in_any_order(self, form, row, read):
        table = read(form, [row("two?", "Step 1: b"), row("one?", "Step 1: a")])
        assert table[["question_id", "text"]].to_numpy().tolist() == [["q-1", "Step 1: b"], ["q-0", "Step 1: a"]]

    def test_a_question_that_occurs_twice_in_the_table_is_refused(self, form, row, read):
        with pytest.raises(PqmError, match=r"file\.jsonl: row 1: its question occurs twice in .*questions\.parquet"):
            read(form, [row("one?", "5"), row("two?", "5")], ("two?", "one?", "two?"))

    def test_a_twice_asked_question_without_solutions_does_no_harm(self, form, row, read):
        assert read(form, [row("one?", "5")], ("two?", "one?", "two?"))["question_id"].tolist() == ["q-1"]

    def test_a_second_row_of_a_question_is_refused(self, form, row, read):
        with pytest.raises(PqmError, match=r"file\.jsonl: rows 0 and 2 have the same question; expected one row per question"):
            read(form, [row("one?", "5"), row("two?", "5"), row("one?", "6")])

    @pytest.mark.parametrize(
        ("name", "reason"), [("EOS", "stop"), ("eos_token", "stop"), ("Max_Tokens", "length"), ("length", "length")]
    )
    def test_reasons_of_endings_are_read(self, name, reason, form, row, read, capsys):
        assert read(form, [row("one?", "5", finish_reason=name)])["finish_reason"].tolist() == [reason]
        assert "finish_reason" not in capsys.readouterr().err

    def test_missing_reasons_are_reported(self, form, row, read, capsys):
        table = read(form, [row("one?", "5"), row("two?", "5", finish_reason=None)])
        assert table["finish_reason"].tolist() == ["stop", "stop"]
        assert "file.jsonl: 2 of 2 samples have no finish_reason; they count as complete (stop)" in capsys.readouterr().err

    def test_other_reasons_are_refused(self, form, row, read):
        with pytest.raises(PqmError, match=r"file\.jsonl: row 1.*, finish_reason: expected .* found 'content_filter'"):
            read(form, [row("one?", "5"), row("two?", "5", finish_reason="content_filter")])

    @pytest.mark.parametrize(("question", "text"), [(1, "5"), (["one?"], "5"), (None, "5"), ("one?", 5), ("one?", None)])
    def test_values_of_other_types_are_refused(self, question, text, form, row, read):
        with pytest.raises(PqmError, match=r"file\.jsonl: row 0"):
            read(form, [row(question, text)])

    def test_half_of_a_surrogate_pair_is_refused(self, form, row, read, tmp_path):
        path = tmp_path / "half.jsonl"
        path.write_text(json.dumps(row("one?", "5 \ud800")) + "\n")
        with pytest.raises(PqmError, match=r"half\.jsonl: row 0, .*: half of a surrogate pair"):
            read_solutions(form, path, asked(tmp_path, "one?"), "a")


def test_other_models_of_a_question_may_have_own_rows(read):
    rows = [pqm("one?", "5"), pqm("one?", "6") | {"responses": [{"text": "6", "model_name": "b"}]}]
    assert read("pqm", rows)["text"].tolist() == ["5"] and read("pqm", rows, model="b")["text"].tolist() == ["6"]


def test_solutions_without_headings_are_reported_as_one_step(read, capsys):
    table = read("pqm", [pqm("one?", "First, 2.\nThen 5.", "Step 1: 2 Step 2: 5"), pqm("two?", "It is 5.", "5")])
    assert [len(steps) for steps in table["steps"]] == [1, 2, 1, 1]
    assert 'file.jsonl: 3 of 4 solutions contain no "Step n:", so each of them is read as one step' in capsys.readouterr().err
    read("pqm", [pqm("one?", "Step 1: 2 Step 2: 5")])
    assert "Step n" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"question": "one?"}, "row 0: no solution of 'a'; it has none"),
        ({"question": "one?", "a": "text", "b": {"solution": "5"}}, "row 0: no solution of 'a'; it has b"),
        ({"question": "one?", "a": {}}, "row 0, a: expected 'solution', a text, found None"),
    ],
)
def test_rows_of_gsm8k_without_the_models_solution(record, words, read):
    with pytest.raises(PqmError, match=re.escape(words)):
        read("gsm8k", [record])


def test_a_web_page_in_place_of_the_file(tmp_path, run_cli):
    (tmp_path / "eval.json").write_text("<!doctype html><html>")
    arguments = ["--format", "pqm", "--questions", asked(tmp_path, "one?"), "--output", tmp_path / "out.parquet"]
    code, text = run_cli("rollouts", "published", tmp_path / "eval.json", *arguments)
    assert code == 1 and text.startswith(f"pqm: {tmp_path}/eval.json: is a web page, not the data") and text.count("\n") == 1
