"""The graders on a table of spellings whose verdicts are known by construction (`benchmarks/grading.py`)."""

import csv
import json
from pathlib import Path

import pytest

from pqm.grading.as_applied import same_as_applied
from pqm.grading.grader import Grader
from pqm.grading.rules import same_by_rules
from pqm.grading.unanswerable import stated_answer

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MATH500 = DATA / "math500" / "test.jsonl"


@pytest.fixture(scope="module")
def rows():
    with (Path(__file__).parent / "data" / "gradings.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def precision_and_recall(verdicts, truths):
    both = sum(verdict and truth for verdict, truth in zip(verdicts, truths))
    return both / sum(verdicts), both / sum(truths)


def test_the_table_has_hundreds_of_rows_and_a_third_of_near_misses(rows):
    wrong = sum(row["right"] == "0" for row in rows)
    assert len(rows) > 800
    assert len({row["kind"] for row in rows}) > 100
    assert 1 / 3 < wrong / len(rows) < 1 / 2


def test_precision_and_recall_of_the_graders_on_the_table(rows):
    """The numbers of docs/grading.md."""
    truths = [row["right"] == "1" for row in rows]
    pairs = [(stated_answer(row["solution"]), row["gold"]) for row in rows]
    with Grader() as grader:
        verdicts = grader(pairs)
        assert grader.report() is None
    assert [(row, verdict) for row, verdict, truth in zip(rows, verdicts, truths) if verdict != truth] == []
    by_rules = precision_and_recall([same_by_rules(*pair) for pair in pairs], truths)
    as_applied = precision_and_recall([same_as_applied(*pair, "") for pair in pairs], truths)
    page = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8")
    for name, measured in (("`rules_correct`", by_rules), ("`second_correct`", as_applied), ("`correct`", (1.0, 1.0))):
        assert f"| {name} | {100 * measured[0]:.1f} % | {100 * measured[1]:.1f} % |" in page


@pytest.mark.parametrize(
    "answer",
    [
        "18 apples",
        "18kg",
        "18 cups of flour",
        "18 miles/hour",
        "18 m/s^2",
        "18 sq ft",
        "₹18",
        "18 €",
        "Rs. 18",
        "18 (dollars)",
        r"18\,\text{cm}",
        r"18^\circ\mathrm{C}",
        "18 °F",
        "total: 18",
        "18-dollar",
        "US$ 18",
        "$18/hour",
        "18 dollars an hour",
        "18 o'clock",
        r"\approx 18",
        "18 cm²",
        "-(-18)",
        "1.8e1",
        r"1.8 \times 10^1",
        "36/2",
        "it is 18",
        r"\mathbf{18}",
        "18 boys and girls",
    ],
)
def test_words_and_units_around_a_number_change_nothing(answer):
    with Grader() as grader:
        assert grader([(answer, "18")]) == [True]


@pytest.mark.parametrize(
    "answer",
    [
        "18 million",
        "18 hundred",
        "18k",
        "18 dozen",
        "18n",
        "18!",
        "18 squared",
        "18 and a half",
        "18 halves",
        "18 or nineteen",
        "18-20",
        "18 to 20",
        "18 plus two",
        "18 dollars and 50 cents",
        "> 18",
        r"x \ge 18",
        "not 18",
        "less than 18",
        r"18^\circ 30'",
        "1 8",
        "18 1/2",
        "18 minus one",
        "18 over x",
    ],
)
def test_words_that_change_a_number(answer):
    with Grader() as grader:
        assert grader([(answer, "18")]) == [False]


@pytest.mark.parametrize(
    "answer, gold, right",
    [
        ("12.5%", "12.5", True),
        ("12.5%", "0.125", True),
        ("4 2/3", r"\frac{14}{3}", True),
        ("-4 2/3", r"\frac{14}{3}", False),
        ("(1,2).", "(1,2)", True),
        ("3 < x \\le 4", "(3,4]", True),
        ("6 - 5 i", "6 - 5i", True),
        ("(2+i)^2", "3+4i", True),
        ("6 + 5 i", "6 - 5i", False),
        ("p-q", "p - q", True),
        ("q-p", "p - q", False),
        ("cot x", r"\cot x", True),
        ("2√113", r"\sqrt{452}", True),
        ("12 pi", r"12\pi", True),
        ("option C", r"\text{(C)}", True),
        ("seat", r"\text{east}", False),
        ("3, 5, and 7", "3, 5, 7", True),
        ("3,5,7,7", "3, 5, 7", False),
        ("52 base 8", "52_8", True),
        ("52_9", "52_8", False),
        ("1.0000001", "1", False),
        (r"(1,\frac{1}{3^{39}})", r"(1,\frac{1}{3^{40}})", False),
        (r"7 \times", "7", False),
        ("5 @ 3", "3", False),
        (r"1+\frac{1}{2", "1", False),
    ],
)
def test_values_and_near_misses(answer, gold, right):
    with Grader() as grader:
        assert grader([(answer, gold)]) == [right]


@pytest.mark.skipif(not MATH500.exists(), reason="MATH500 is not at hand")
def test_every_gold_answer_equals_itself_and_numbers_equal_themselves_with_a_unit():
    golds = [json.loads(line)["answer"] for line in MATH500.read_text(encoding="utf-8").splitlines()]
    numbers = [gold for gold in golds if gold.strip("-").replace(".", "").isdecimal()]
    pairs = [(f" {gold} ", gold) for gold in golds] + [(f"{gold} dollars", gold) for gold in numbers]
    with Grader() as grader:
        assert len(numbers) > 300
        assert [pair for pair, right in zip(pairs, grader(pairs)) if not right] == []
