"""Equations in worked solutions: which are found, and which are right to the cent."""

import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqm.problems.equations import EQUATIONS, PLAIN_EQUATIONS, Equation, compute, to_fraction
from pqm.problems.gsm8k import split_gsm8k_answer
from pqm.problems.gsm_symbolic import DIFFICULTY, PACKAGE, UNSOUND, _templates, adds_up

# ---------------------------------------------------------------- the former rule, in floating point

NUMBER = r"[$€£]?(\d[\d,]*(?:\.\d+)?)"
OPERATOR = r"[-+*/÷×x]"
EQUATION = re.compile(
    rf"(?<![\w.,+*/÷×=$€£-])(?<![-+*/÷×x=(] ){NUMBER} ?({OPERATOR}) ?{NUMBER} ?= ?{NUMBER}(?![.,]?\d|%| ?{OPERATOR})"
)


def value(number: str) -> float:
    return float(number.replace(",", ""))


def result(left: float, operator: str, right: float) -> float:
    if operator in "/÷":
        return left / right if right else float("nan")
    return {"+": left + right, "-": left - right}.get(operator, left * right)


def added_up(solution: list[str], answer: str) -> bool:
    return float(answer) in map(value, re.findall(NUMBER, solution[-1])) and all(
        abs(result(value(left), operator, value(right)) - value(stated)) < 0.01
        for step in solution
        for left, operator, right, stated in EQUATION.findall(step)
    )


def misprinted(random: Random, step: str) -> str:
    """The step with a digit replaced at a random place."""
    place = random.choice([index for index, letter in enumerate(step) if letter.isdigit()] or [0])
    return step[:place] + random.choice("123456789") + step[place + 1 :]


def test_solutions_add_up_by_the_former_rule_where_they_do_by_ours():
    random, verdicts = Random(0), []
    for number, template in _templates(PACKAGE).items():
        if number in UNSOUND:
            continue
        for _ in range(25):
            made = template(random, DIFFICULTY)
            solution, _ = split_gsm8k_answer(made["metadata"]["answer_cot"])
            place = random.randrange(len(solution))
            for steps in (solution, [*solution[:place], misprinted(random, solution[place]), *solution[place + 1 :]]):
                found = [match[0] for step in steps for match in EQUATION.finditer(step)]
                assert [match[0] for step in steps for match in PLAIN_EQUATIONS.finditer(step)] == found
                assert adds_up(steps, made["answer"]) is added_up(steps, made["answer"]), steps
                verdicts.append(added_up(steps, made["answer"]))
    assert len(verdicts) > 4000 and min(verdicts.count(True), verdicts.count(False)) > 800


# ---------------------------------------------------------------- equations


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("12 * 15 = 180", True),
        ("12 * 15 = 181", False),
        ("1400 carrot / 14 carrot/minute = 100 minutes", True),
        ("2 + 3 * 4 = 14", True),
        ("2 + 3 * 4 = 20", False),
        ("10 - 4 - 3 = 3", True),
        ("24 / 4 / 2 = 3", True),
        ("20% x 50 = 10", True),
        ("$1,500 × 2 = $3,000", True),
        ("10 ÷ 3 = 3.33", True),
        ("10 / 3 = 3.34", True),
        ("10 / 3 = 3.35", False),
        ("0.1 + 0.2 = 0.31", False),
        ("0.1 + 0.2 = 0.3", True),
        ("5 / 0 = 0", False),
    ],
)
def test_an_equation_holds_to_the_cent(text, holds):
    [match] = EQUATIONS.finditer(f"She has {text}.")
    assert Equation(match[0]).holds is holds


@pytest.mark.parametrize(
    "text",
    ["1 + ( 2 + 3 = 6 )", "1 + 2 = 3 + 4", "3 = 3", "a1 + 2 = 3", "5 + 6 = 50%", "so 12 - x = 4"],
    ids=["brackets", "more on the right", "no operator", "part of a word", "percentage", "unknown"],
)
def test_parts_of_formulas_are_no_equations(text):
    assert [match[0] for pattern in (EQUATIONS, PLAIN_EQUATIONS) for match in pattern.finditer(text)] == []


def test_plain_equations_have_two_numbers_without_units():
    text = "12 * 15 = 180, 1 + 2 + 3 = 6, 4 jars * 2 = 8 and $3 x 4 = $12"
    assert [match[0] for match in PLAIN_EQUATIONS.finditer(text)] == ["12 * 15 = 180", "$3 x 4 = $12"]
    assert len(list(EQUATIONS.finditer(text))) == 4


numbers = st.integers(1, 99).map(str)


@given(st.lists(st.tuples(st.sampled_from("+-*/"), numbers), max_size=6), numbers)
@settings(max_examples=100)
def test_formulas_are_computed_as_python_computes_fractions(terms, first):
    text = f"Fraction({first})" + "".join(f" {sign} Fraction({number})" for sign, number in terms)
    values = [to_fraction(first), *(to_fraction(number) for _, number in terms)]
    assert compute(values, [sign for sign, _ in terms]) == eval(text, {"Fraction": Fraction})


def test_a_division_by_0_has_no_value():
    assert compute([Fraction(1), Fraction(0)], ["/"]) is None
    assert compute([Fraction(0), Fraction(0), Fraction(2)], ["*", "/"]) == 0


def test_thousands_commas_are_read():
    assert to_fraction("1,234,567.50") == Fraction(2469135, 2)
