import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from pqm import formats
from pqm.evaluate import grade
from pqm.evaluate.grading import extract_answer, is_right, same_string

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MATH500 = DATA / "math500" / "test.jsonl"
GSM8K_SOLUTIONS = DATA / "gsm8k" / "example_model_solutions.jsonl"


def json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize(
    "text, answer",
    [
        (r"so \boxed{5}.", "5"),
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{\left( 3, \frac{\pi}{2} \right)}", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"\boxed{x^{2^{3}} + \sqrt{y}} and more {text}", r"x^{2^{3}} + \sqrt{y}"),
        (r"first \boxed{3}, no: \boxed{4}", "4"),
        (r"\boxed{7} The answer is 8", "7"),
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 3\n#### 1,000\n", "1,000"),
        ("2 + 2 = 4\nA: 4", "4"),
        ("monday aunt gives 8 , 4 + 8 = 12 , answer 12\n", "12"),
        ("The answer is 5.", "5"),
        ("The answer is: 5", "5"),
        ("Answer: 5", "5"),
        ("The answer is 3.\nThe answer is 4.", "4"),
        ("A: 3.5.", "3.5"),
    ],
)
def test_stated_answer_is_found(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize("text", ["", "no number is stated", "4 + 8 = 12", "####", r"cut at \boxed{12"])
def test_texts_that_state_no_answer_have_none(text):
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    "answer, gold",
    [
        ("5", "5"),
        ("1,000", "1000"),
        ("1000", "1,000"),
        ("18.0", "18"),
        ("18", "18.00"),
        ("$18", "18"),
        ("0.5", r"\frac{1}{2}"),
        (r"\frac{1}{2}", "0.5"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        ("3/4", "0.75"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        ("x + 1", "1 + x"),
    ],
)
def test_answers_of_equal_value_are_right(answer, gold):
    assert is_right(answer, gold)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (None, "5"),
        ("", "5"),
        ("6", "5"),
        ("-5", "5"),
        ("3.14", "3.1"),
        ("50", "5"),
        ("180", "18"),
        ("x + 1", "x - 1"),
        ("5", "None"),
    ],
)
def test_other_answers_are_wrong(answer, gold):
    assert not is_right(answer, gold)


def test_plain_strings_are_compared_without_their_dress():
    assert same_string(" 1,000 ", "1000")
    assert same_string(r"\text{5}", "{5}")
    assert not same_string("0.5", r"\frac{1}{2}")
    assert not same_string(None, "5")


def test_cut_samples_are_wrong_whatever_they_say(tmp_path):
    questions = pd.DataFrame(
        [{"question_id": "q", "question": "how many ?", "answer": "5", "solution": ["5"], "cluster": "c", "perturbation": ""}]
    )
    texts = [("answer 5", "stop"), ("answer 5", "length"), ("answer 6", "stop"), ("5 it is", "stop")]
    rollouts = pd.DataFrame(
        [
            {
                "question_id": "q",
                "sample_id": number,
                "text": text,
                "steps": [text],
                "n_tokens": 2,
                "finish_reason": reason,
                "log_likelihood": -1.0,
                "seed": 0,
                "engine": "none",
            }
            for number, (text, reason) in enumerate(texts)
        ]
    )
    formats.write(questions, formats.QUESTIONS, tmp_path / "questions.parquet")
    formats.write(rollouts, formats.ROLLOUTS, tmp_path / "rollouts.parquet")
    grades = grade(tmp_path / "questions.parquet", tmp_path / "rollouts.parquet")
    assert grades["correct"].tolist() == [True, False, False, False]
    assert grades["second_correct"].tolist() == [True, False, False, False]
    assert [answer if isinstance(answer, str) else None for answer in grades["answer"]] == ["5", None, "6", None]
    assert grades["cluster"].tolist() == ["c"] * 4


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_every_math500_solution_is_right():
    records = json_lines(MATH500)
    wrong = [one["unique_id"] for one in records if not is_right(extract_answer(one["solution"]), one["answer"])]
    assert len(records) == 500
    assert wrong == []


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_solutions_do_not_answer_the_next_math500_question():
    records = [one for one in json_lines(MATH500) if one["answer"].isdigit()]
    pairs = list(pairwise(records))
    assert len(pairs) > 200
    for one, other in pairs:
        assert is_right(extract_answer(one["solution"]), other["answer"]) == (one["answer"] == other["answer"])


@pytest.mark.skipif(not GSM8K_SOLUTIONS.exists(), reason="GSM8K is not at hand")
def test_grades_of_gsm8k_solutions_agree_with_the_publishers():
    agree = total = 0
    for record in json_lines(GSM8K_SOLUTIONS):
        gold = record["ground_truth"].rsplit("A:", 1)[1].strip()
        for one in record.values():
            if isinstance(one, dict):
                total += 1
                agree += is_right(extract_answer(one["solution"]), gold) == one["is_correct"]
    assert total == 5276
    assert agree / total >= 0.995
