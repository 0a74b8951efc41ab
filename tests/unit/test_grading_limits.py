"""Answers that hang, crash or blow up a grader."""

import os
import time

import pytest

from pqm.grading import grader as grading
from pqm.grading.extraction import extract_answer
from pqm.grading.grader import LONGEST_ANSWER, Grader
from pqm.grading.rules import same_by_rules

POISON = {
    "tower": "9^{9^{9^{9}}}",
    "power": "10**10**10",
    "factorial": "((9!)!)!",
    "exponent": "1e1000000",
    "open fraction": r"\frac{1}{2",
    "open braces": "{" * 4000,
    "closed braces": "}" * 4000,
    "deep parentheses": "(" * 4000 + "1" + ")" * 4000,
    "deep fractions": r"\frac{1}{" * 900 + "2" + "}" * 900,
    "deep roots": r"\sqrt{" * 1200 + "2" + "}" * 1200,
    "carets": "2" + "^2" * 4000,
    "signs": "-" * 9000 + "1",
    "too long": "1" * 100_000,
    "digits": "1" * 9999,
    "nested boxes": r"\boxed{\boxed{}}",
    "unicode": "∑𝟙\u202e½٣",
    "surrogate": "\ud800",
    "NUL": "\x00\x00",
    "matrix": r"\begin{pmatrix}" + r" \\ ".join(" & ".join(str(i * j) for j in range(40)) for i in range(40)) + r"\end{pmatrix}",
    "spaces": "1" + " " * 9000 + "2",
    "commas": "," * 9000,
    "texts": r"\text{" * 1500,
    "units": "degrees " * 1200,
    "mixed numbers": "1 " * 4500,
    "ands": " and " * 1800,
    "equations": "x=" * 4500,
    "code": "__import__('os').abort()",
}


@pytest.mark.parametrize("answer", POISON.values(), ids=POISON.keys())
def test_rules_and_extraction_take_no_time_over_poison(answer):
    start = time.process_time()
    assert not same_by_rules(answer, "5")
    assert not same_by_rules("5", answer)
    extract_answer(f"answer {answer}")
    assert extract_answer(rf"\boxed{{{answer}") in (None, "", *POISON.values())
    assert time.process_time() - start < 0.5


def test_math_verify_is_bounded_in_time_on_poison():
    short = [
        POISON[name]
        for name in ("tower", "factorial", "open fraction", "too long", "nested boxes", "unicode", "surrogate", "NUL", "code")
    ]
    with Grader(seconds=1, workers=2) as grader:
        start = time.monotonic()
        assert grader([(answer, "5") for answer in short]) == [False] * len(short)
        assert grader([("x+1", "1+x")]) == [True]  # the pool still works
        assert time.monotonic() - start < 120  # on a busy machine; 3 s of processor time
        assert grader.unjudged == {"too long": 1, "out of time": 2}
        assert "1 too long, 2 out of time" in grader.report()
        start = time.monotonic()
        assert grader([("9^{9^{9^{9}}}", "5")]) == [False]
        assert time.monotonic() - start < 0.1  # known


def allocate(pairs, seconds):
    return [len(bytearray(5 << 30)) > 0 for _ in pairs]


def die(pairs, seconds):
    os.abort()


def test_a_worker_without_memory_and_one_that_dies_count_as_wrong(monkeypatch):
    with Grader() as grader:
        monkeypatch.setattr(grading, "_verify", allocate)
        assert grader([("x+1", "1+x")]) == [False]
        assert grader.unjudged == {"crashed": 1}
        monkeypatch.setattr(grading, "_verify", die)
        assert grader([("x+2", "2+x")]) == [False]
        assert grader.unjudged == {"crashed": 2}


@pytest.mark.parametrize(
    "unit", ["answer ", "#### ", "#", r"\boxed{", r"\boxed{}", "{", "}", "A:", "answer:\n", "answer" + " " * 50, "\n", "a. "]
)
def test_extraction_is_linear(unit):
    def seconds(size):
        text = unit * (size // len(unit))
        start = time.process_time()
        extract_answer(text)
        return time.process_time() - start

    seconds(1000)
    assert min(seconds(200_000) for _ in range(2)) < 20 * max(min(seconds(50_000) for _ in range(2)), 0.005)


def test_the_last_statement_counts():
    assert extract_answer("The answer is 5\n####") == "5"
    assert extract_answer(r"\boxed{\boxed{7}}") == "7"
    assert extract_answer(r"\boxed{1} \boxed{2} \boxed{3") == "2"
    assert extract_answer("} \\boxed{4} }") == "4"


def test_answers_too_long_are_wrong_even_if_equal():
    with Grader() as grader:
        assert grader([("1" * LONGEST_ANSWER, "1" * LONGEST_ANSWER)]) == [True]
        assert grader([("1" * (LONGEST_ANSWER + 1), "1" * (LONGEST_ANSWER + 1))]) == [False]
        assert grader.unjudged == {"too long": 1}


def test_pairs_of_one_gold_answer_are_sent_together_in_small_tasks():
    pairs = [(f"{number} + x", gold) for number in range(20) for gold in (r"\pi", r"\sqrt{2}")]
    pairs += [(f"{number} + y", f"{number} y") for number in range(40)]
    tasks = grading._tasks(pairs)
    assert sorted(pair for task in tasks for pair in task) == sorted(pairs)
    assert max(map(len, tasks)) == grading.PAIRS_PER_TASK
    assert len(tasks) <= 2 * 2 + 3
    for gold in (r"\pi", r"\sqrt{2}"):
        assert sum(any(pair[1] == gold for pair in task) for task in tasks) == 2
