"""Questions from templates and from published files, and answers to questions that have none."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from published_rows import lines

from pqm.errors import PqmError
from pqm.evaluate.grades import grade
from pqm.grading.unanswerable import stated_answer
from pqm.io import formats
from pqm.problems.gsm_symbolic import UNSOUND, adds_up
from pqm.questions.generate import make_questions
from pqm.study.questions import QuestionsConfig, SymbolicSource
from pqm.study.reading import load_study
from pqm.study.sources import FileSource

DATA = Path(__file__).parents[3] / "shared" / "data"


def symbolic(name: str, taken: list[Path] | None = None, **more: Any) -> pd.DataFrame:
    source = SymbolicSource(**{"kind": "gsm-symbolic", "questions": 60, "seed": 1, **more})
    others = taken or []
    config = QuestionsConfig(source=source, disjoint_from=tuple(path.stem for path in others))
    return make_questions(config, name, {path.stem: path for path in others}, Path("."))


def test_symbolic_questions_are_sound_and_repeat(tmp_path):
    table = symbolic("train", questions=2000)
    formats.write(table, formats.QUESTIONS, tmp_path / "train.parquet")
    assert table["question"].is_unique and table["cluster"].nunique() > 70
    assert not set(table["cluster"]) & {f"template-{number:02d}" for number in UNSOUND}
    for row in table.itertuples():
        assert re.search(rf"(?<![\d.]){re.escape(row.answer)}(?:\.0+)?(?![\d])", row.solution[-1].replace(",", ""))
        assert adds_up(row.solution, row.answer) and "####" not in " ".join(row.solution)
    pd.testing.assert_frame_equal(table.head(60), symbolic("train"))
    other = symbolic("other", [tmp_path / "train.parquet"])
    assert not set(other["question"]) & set(table["question"])


def test_symbolic_templates_are_a_range():
    assert set(symbolic("held-out", templates=(80, 85))["cluster"]) == {f"template-{number}" for number in range(80, 86)}


def test_exhausted_symbolic_templates_are_reported(monkeypatch):
    monkeypatch.setattr("pqm.problems.gsm_symbolic.TRIES", 20)
    with pytest.raises(PqmError, match=r"few: expected 100000 questions, but the templates 52 to 52 gave only \d+"):
        symbolic("few", questions=100_000, templates=(52, 52))
    with pytest.raises(PqmError, match="none of the templates 97 to 98 is sound"):
        symbolic("none", templates=(97, 98))


@pytest.mark.parametrize(
    ("steps", "answer", "sound"),
    [
        (["0.39 * 80 = 31.20", "31.20 + 2 = 33.2"], "33.2", True),
        (["0.39 * 80 = 31", "31 + 2 = 33"], "33", False),
        (["€12 + €18 + €22 = €52", "€52 x 2 = €104"], "104", True),
        (["€12 - €18.5 = €6"], "6", False),
        (["he was 69 years - 70 years = -1 years old"], "-1", False),
        (["6 / 12 = 50.0%, so 50"], "50", True),
        (["10 / 3 = 3.33"], "3.33", True),
        (["3 + 4 = 7"], "8", False),
        (["$1,500 * 2 = $3,000"], "3000", True),
    ],
)
def test_solutions_that_do_not_add_up(steps, answer, sound):
    assert adds_up(steps, answer) is sound


def test_missing_package_is_reported(monkeypatch):
    monkeypatch.setattr("pqm.problems.gsm_symbolic.PACKAGE", "no_such_package")
    with pytest.raises(PqmError, match="reasoning-gym is not installed"):
        symbolic("train")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Nobody says how much.\n#### None", "None"),
        (r"So \boxed{\text{None}}", "None"),
        ("The answer is unknown.", "None"),
        ("The answer cannot be determined from what is given.", "None"),
        ("The price of a pen is missing.\nThere is not enough information to solve this.", "None"),
        ("It is impossible to determine the total.", "None"),
        ("The answer is: it can't be calculated", "None"),
        ("The answer is none of them", "none of them"),
        ("None are left, so the answer is 0", "0"),
        ("What cannot be determined is left out.\nThe answer is 5", "5"),
        ("We do not stop here", None),
    ],
)
def test_solutions_that_state_that_there_is_no_answer(text, answer):
    assert stated_answer(text) == answer


def test_question_without_answer_is_graded_by_what_the_solution_states(tmp_path, capsys):
    row = {"question": "How many?", "solution": "Unknown.\n#### None", "answer": "None", "perturbation_type": "critical thinking"}
    lines(tmp_path / "plus.jsonl", [row | {"seed_question": "How many of 3?"}])
    source = FileSource(kind="file", format="gsm-plus", path="plus.jsonl")
    questions = make_questions(QuestionsConfig.model_construct(source=source, disjoint_from=()), "plus", {}, tmp_path)
    assert "plus: 1 of 1 questions have no answer (gold answer None)" in capsys.readouterr().err
    texts = ["It cannot be determined.", "The answer is 0", "#### None"]
    shared = {"question_id": "plus-00000", "n_tokens": 3, "log_likelihood": -1.0, "seed": 0, "engine": "made up"}
    rollouts = [
        shared | {"sample_id": number, "text": text, "steps": [text], "finish_reason": reason}
        for number, (text, reason) in enumerate([*((text, "stop") for text in texts), (texts[0], "length")])
    ]
    formats.write(questions, formats.QUESTIONS, tmp_path / "questions.parquet")
    formats.write(pd.DataFrame(rollouts), formats.ROLLOUTS, tmp_path / "rollouts.parquet")
    grades = grade(tmp_path / "questions.parquet", tmp_path / "rollouts.parquet")
    assert grades["correct"].tolist() == [True, False, True, False]


MATH500 = {"problem": "1 + 1?", "solution": "So 2.", "answer": "2"}
GSM_PLUS = {"question": "1 + 1?", "solution": "2", "answer": "2", "perturbation_type": "a", "seed_question": "1?"}


def published(form: str, tmp_path: Path, *rows: dict[str, Any]) -> pd.DataFrame:
    lines(tmp_path / "rows.jsonl", list(rows))
    source = FileSource(kind="file", format=form, path="rows.jsonl")
    return make_questions(QuestionsConfig.model_construct(source=source, disjoint_from=()), "some", {}, tmp_path)


@pytest.mark.parametrize(("form", "row"), [("math500", MATH500), ("gsm-plus", GSM_PLUS)])
class TestGoldAnswers:
    @pytest.mark.parametrize(("answer", "gold"), [(["5"], "5"), ("5", "5"), (5, "5"), (["None"], "None")])
    def test_one_answer_is_read(self, answer, gold, form, row, tmp_path):
        assert published(form, tmp_path, row | {"answer": answer})["answer"].tolist() == [gold]

    @pytest.mark.parametrize("answer", [["5", "6"], [], {"value": "5"}, [["5"]], True])
    def test_other_values_are_refused(self, answer, form, row, tmp_path):
        with pytest.raises(PqmError, match=r"rows\.jsonl: row 1: expected one gold answer, a text or a number, found"):
            published(form, tmp_path, row, row | {"answer": answer})

    @pytest.mark.parametrize("answer", [None, "", " ", float("nan"), [None]])
    def test_a_missing_answer_is_refused(self, answer, form, row, tmp_path):
        with pytest.raises(PqmError, match=r"rows\.jsonl: row 1: the gold answer is empty"):
            published(form, tmp_path, row, row | {"answer": answer})

    def test_texts_of_other_types_are_refused(self, form, row, tmp_path):
        for key in row.keys() - {"answer"}:
            for value in (None, 5, ["a"]):
                with pytest.raises(
                    PqmError, match=rf"rows\.jsonl: row 1: expected '{key}', a text, found {re.escape(repr(value))}"
                ):
                    published(form, tmp_path, row, row | {key: value})

    def test_an_empty_question_is_refused(self, form, row, tmp_path):
        with pytest.raises(PqmError, match=r"rows\.jsonl: row 1: the question is empty"):
            published(form, tmp_path, row, row | {("problem" if form == "math500" else "question"): " "})

    def test_missing_keys_are_named(self, form, row, tmp_path):
        for key in row:
            with pytest.raises(PqmError, match=rf"rows\.jsonl: row 1: key '{key}' is missing; expected the publishers' {form}"):
                published(form, tmp_path, row, {name: value for name, value in row.items() if name != key})


@pytest.mark.skipif(not DATA.exists(), reason="the published data is not beside the checkout")
def test_questions_without_answer_of_gsm_plus_are_counted(capsys):
    config = load_study(Path(__file__).parents[2] / "config/published/study.yaml").questions["gsm-plus"]
    table = make_questions(config, "gsm-plus", {}, DATA)
    none = table["answer"] == "None"
    assert f"{none.sum()} of 2400 questions have no answer" in capsys.readouterr().err
    assert set(table["perturbation"][none]) == {"critical thinking"}
