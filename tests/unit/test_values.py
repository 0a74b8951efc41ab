"""Answers that are equal in value are one answer in a vote."""

import time

import pytest

from pqm.grading.grader import Grader
from pqm.grading.values import first_spellings


@pytest.mark.parametrize(
    "answers, firsts",
    [
        (["70000", "70,000", "$70,000", "5", "5"], ["70000", "70000", "70000", "5", "5"]),
        ([None, "5", None, "5.0", "5 eggs"], [None, "5", None, "5", "5"]),
        (["14/3", "4 2/3", r"\frac{14}{3}", "4.67"], ["14/3", "14/3", "14/3", "4.67"]),
        (["x+1", "1 + x", "x-1"], ["x+1", "x+1", "x-1"]),
        (["(1,2)", r"\left( 1, 2 \right)", "(2,1)", "[1,2]"], ["(1,2)", "(1,2)", "(2,1)", "[1,2]"]),
        ([r"3\sqrt{2}", r"\sqrt{18}", r"2\sqrt{3}"], [r"3\sqrt{2}", r"3\sqrt{2}", r"2\sqrt{3}"]),
        (["x=5", "5", "y = 2x - y"], ["x=5", "x=5", "y = 2x - y"]),
        (["Evelyn", r"\text{evelyn}", "None"], ["Evelyn", "Evelyn", "None"]),
        ([r"1 \pm \sqrt{2}", r"1-\sqrt{2}, 1+\sqrt{2}", "1"], [r"1 \pm \sqrt{2}", r"1 \pm \sqrt{2}", "1"]),
        (["", "", "5"], ["", "", "5"]),
        ([], []),
    ],
)
def test_answers_get_the_spelling_of_the_first_equal_one(answers, firsts):
    assert first_spellings(answers) == firsts


def test_the_classes_are_those_of_the_grader():
    answers = [
        "1/2",
        "0.5",
        "50%",
        "50",
        "x^2",
        "x*x",
        "2x",
        "(1,2)",
        "( 1,2 )",
        r"\sqrt[3]{8}",
        "2",
        "y=x^2",
        r"\frac{\pi}{2}",
        "1.5708",
        "a",
        "b",
    ]
    firsts = first_spellings(answers)
    with Grader() as grader:
        for place, (answer, first) in enumerate(zip(answers, firsts)):
            earlier = [one for one in dict.fromkeys(firsts[:place])]
            equal = [one for one, right in zip(earlier, grader([(answer, one) for one in earlier])) if right]
            assert first == (equal[0] if equal else answer)


def test_numbers_are_fast():
    answers = [f"{number % 40:,} eggs" if number % 2 else f"${number % 40}.00" for number in range(128)]
    first_spellings(["1", "2"])
    start = time.process_time()
    assert len(set(first_spellings(answers))) == 40
    assert time.process_time() - start < 1
