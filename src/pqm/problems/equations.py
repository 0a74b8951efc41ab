"""Finding, parsing and checking equations in the text of worked solutions, to the cent."""

import re
from collections.abc import Sequence
from fractions import Fraction

NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
SIGNS = {"+": "+", "-": "-", "*": "*", "x": "*", "×": "*", "/": "/", "÷": "/"}
CENT = Fraction(1, 100)
_OPERATOR = r"[-+*/÷×x]"
_UNIT = r"(?: (?!x\b)[A-Za-z]+(?:/[A-Za-z]+)?){0,3}?"
_TERM = rf"[$€£]?{NUMBER}%?{_UNIT}"
_AMOUNT = rf"[$€£]?{NUMBER}"
NUMBERS = re.compile(NUMBER)
# Any terms with units (`1400 carrot / 14 carrot/minute = 100 minutes`), but no part of a longer formula.
EQUATIONS = re.compile(
    rf"(?<![\w.,+*/÷×=$€£(-])(?<![-+*/÷×x=(] ){_TERM}(?: ?{_OPERATOR} ?{_TERM})+ ?= ?{_AMOUNT}(?![.,]?\d|%| ?[-+*/÷×=])"
)
# Two terms without units.
PLAIN_EQUATIONS = re.compile(
    rf"(?<![\w.,+*/÷×=$€£-])(?<![-+*/÷×x=(] ){_AMOUNT} ?{_OPERATOR} ?{_AMOUNT} ?= ?{_AMOUNT}(?![.,]?\d|%| ?{_OPERATOR})"
)
_PARTS = re.compile(rf"(?P<number>{NUMBER})(?P<percent>%?)|(?<![A-Za-z])(?P<operator>{_OPERATOR})(?![A-Za-z])")


class Equation:
    """A parsed equation: operands, operators and result, as matches with the groups number, percent and operator."""

    def __init__(self, text: str) -> None:
        self.parts = list(_PARTS.finditer(text))
        *self.operands, self.result = [match for match in self.parts if match["number"]]
        self.operators = [match for match in self.parts if match["operator"]]

    @property
    def holds(self) -> bool:
        """Whether the equation is right to the cent."""
        if len(self.operators) != len(self.operands) - 1:
            return False
        values = [to_fraction(match["number"]) / (100 if match["percent"] else 1) for match in self.operands]
        computed = compute(values, [SIGNS[match["operator"]] for match in self.operators])
        return computed is not None and abs(computed - to_fraction(self.result["number"])) < CENT


def to_fraction(number: str) -> Fraction:
    """Parse a number with or without thousands commas."""
    return Fraction(number.replace(",", ""))


def compute(values: Sequence[Fraction], signs: Sequence[str]) -> Fraction | None:
    """The value of a formula, with products before sums; None for a division by 0.

    Args:
        signs: the operators between the values: +, -, * or /.
    """
    terms = [values[0]]
    for sign, operand in zip(signs, values[1:]):
        if sign == "/" and operand == 0:
            return None
        if sign in "+-":
            terms.append(operand if sign == "+" else -operand)
        else:
            terms[-1] = terms[-1] * operand if sign == "*" else terms[-1] / operand
    return sum(terms, Fraction(0))
