"""Graders: the extracted answers, and which of them are right."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from pqm.evaluate.grades import grade
from pqm.grading.extraction import extract_answer
from pqm.grading.grader import Grader
from pqm.grading.rules import same_by_rules
from pqm.io import formats

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MATH500 = DATA / "math500" / "test.jsonl"
GSM8K_SOLUTIONS = DATA / "gsm8k" / "example_model_solutions.jsonl"


@pytest.fixture(scope="module")
def grader():
    with Grader() as one:
        yield one


@pytest.fixture
def is_right(grader):
    return lambda answer, gold: grader([(answer, gold)])[0]


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
def test_answers_of_equal_value_are_right(is_right, answer, gold):
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
def test_other_answers_are_wrong(is_right, answer, gold):
    assert not is_right(answer, gold)


numbers = st.from_regex(r"-?(?:[0-9]{1,9}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,2})(?:\.[0-9]{1,6})?", fullmatch=True)


@given(numbers, st.one_of(numbers, st.none()), st.sampled_from(["", "0", ".0", ".000000"]))
@settings(max_examples=60, deadline=None)
def test_plain_numbers_get_math_verifys_verdict_without_it(gold, other, tail):
    answer = other or gold + (tail if "." not in gold or tail == "0" else "")
    expected = verify(parse(f"${gold}$"), parse(f"${answer}$"))
    assert Grader()._without_parser(answer, gold) in (expected, None)


def test_a_word_problem_is_graded_without_pool_and_parser():
    code = """
import sys
from pqm.grading.extraction import extract_answer
from pqm.grading.grader import Grader
with Grader() as grader:
    assert grader([("12", "12"), ("12", "13"), ("1,000", "1000"), (None, "5"), ("x+1", "x+1")]) == [True, False, True, False, True]
    assert extract_answer("day 2 : 4 + 8 = 12 , answer 12") == "12"
assert not {"math_verify", "sympy", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (" 1,000 ", "1000"),
        (r"\text{5}", "{5}"),
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac12", r"\frac{1}{2}"),
        ("-5/3", r"-\frac{5}{3}"),
        (r"\$18.90", "18.9"),
        ("11,111,111,100", r"11,\! 111,\! 111,\! 100"),
        ("5.4 cm", r"5.4 \text{ cents}"),
        ("864 inches^2", r"864 \mbox{ inches}^2"),
        ("120 degrees", r"120^\circ"),
        ("x = 5", "5"),
        ("5", "x=5"),
        (r"\sqrt{44}", r"2\sqrt{11}"),
        (r"1\frac{4}{5}", "1.8"),
        ("137 1/2", r"137 \frac{1}{2}"),
        (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)"),
        ("[-2,7]", r"x \in [-2,7]"),
        ("(0.6, 8/3]", r"\left(\frac{3}{5},\frac{8}{3}\right]"),
        ("-2, 1", "-2,1"),
        (r"3 \text{ and } 5", "3, 5"),
        ("-5i + 6", "6 - 5i"),
        ("(b+2)(a+5)", "(a+5)(b+2)"),
        ("2x^2(x+1)", "2x^3+2x^2"),
        (r"\cos x / \sin x", r"\cot x"),
        ("2.5 million", "2500000"),
        ("EVELYN", r"\text{Evelyn}"),
        ("C", r"\text{(C)}"),
        (r"\begin{pmatrix} 0.2 \\ -3.6 \end{pmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}"),
        ("52", "52_8"),  # the authors' rules drop the base
        ("50", "0.5"),  # .. accept a factor of 100
        ("10001", "10000"),  # .. and round
    ],
)
def test_the_authors_rules_take_these_for_equal(answer, gold):
    assert same_by_rules(answer, gold)


@pytest.mark.parametrize(
    "answer, gold",
    [
        (None, "5"),
        ("", "5"),
        ("6", "5"),
        ("-5", "5"),
        ("10010", "10000"),
        ("500", "0.5"),
        ("None", "5"),
        ("1/3", r"\frac{1}{2}"),
        ("(1,2)", "(2,1)"),
        ("(1,2]", "[1,2)"),
        ("1,2,3", "1,2"),
        ("(12,102)", "(12102)"),
        ("x+1", "x-1"),
        ("x^2", "2x"),
        ("east", "seat"),
        (r"\sqrt{-1", "i"),
        ("1/0", r"\frac{1}{0}"),
        ("9" * 400, "8" * 400),
        ("9^{9^{9^{9}}}", "9^{9^{9^{8}}}"),
        ("__import__('os').abort()", "5"),
    ],
)
def test_the_authors_rules_take_these_for_different(answer, gold):
    assert not same_by_rules(answer, gold)


def test_truncated_samples_are_wrong_whatever_they_state(tmp_path):
    questions = pd.DataFrame(
        [{"question_id": "q", "question": "how many ?", "answer": "5", "solution": ["5"], "cluster": "c", "perturbation": ""}]
    )
    texts = [("answer 5", "stop"), ("answer 5", "length"), ("answer 6", "stop"), ("5 it is", "stop"), ("answer 5 cm", "stop")]
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
    assert grades["correct"].tolist() == [True, False, False, False, True]
    assert grades["second_correct"].tolist() == [True, False, False, False, False]  # only the gold answer is normalised
    assert grades["rules_correct"].tolist() == [True, False, False, False, True]
    assert [answer if isinstance(answer, str) else None for answer in grades["answer"]] == ["5", None, "6", None, "5 cm"]
    assert grades["cluster"].tolist() == ["c"] * 5


def dressed(gold):
    """A gold answer with other spaces, brackets and fractions."""
    return (
        r"\left" + gold.replace(" ", "  ").replace(r"\frac", r"\dfrac").replace(")", r"\right)")
        if gold[0] == "("
        else f" {gold} "
    )


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_every_math500_solution_is_right_by_both_graders(grader):
    records = json_lines(MATH500)
    pairs = [(extract_answer(one["solution"]), one["answer"]) for one in records]
    pairs += [(dressed(answer), answer) for answer in {one["answer"] for one in records}]
    assert len(records) == 500
    assert [pair for pair, right in zip(pairs, grader(pairs)) if not right] == []
    assert [pair for pair in pairs if not same_by_rules(*pair)] == []
    assert grader.report() is None


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_solutions_do_not_answer_the_next_math500_question(grader):
    records = json_lines(MATH500)
    pairs = [
        (extract_answer(one["solution"]), other["answer"]) for one, other in pairwise(records) if one["answer"] != other["answer"]
    ]
    assert len(pairs) > 480
    some = [("5", "x=5"), *pairs[::4]]
    assert {pair for pair, right in zip(some, grader(some)) if right} == {("5", "x=5")}
    assert {pair for pair in pairs if same_by_rules(*pair)} == {("5", "x=5"), ("200", "2")}


@pytest.mark.skipif(not GSM8K_SOLUTIONS.exists(), reason="GSM8K is not at hand")
def test_grades_of_gsm8k_solutions_agree_with_the_publishers(grader):
    pairs, published = [], []
    for record in json_lines(GSM8K_SOLUTIONS):
        gold = record["ground_truth"].rsplit("A:", 1)[1].strip()
        solutions = [one for one in record.values() if isinstance(one, dict)]
        pairs += [(extract_answer(one["solution"]), gold) for one in solutions]
        published += [one["is_correct"] for one in solutions]
    assert len(pairs) == 5276
    assert grader(pairs) == published
    lenient = [pair for pair, right in zip(pairs, published) if same_by_rules(*pair) != right]
    assert len(lenient) == 15  # all because the authors' rules accept a factor of 100 and an error of 1 in 10,000
    assert all(float(answer.replace(",", "")) / float(gold) in (100, 0.01, 1.00005) for answer, gold in lenient)
