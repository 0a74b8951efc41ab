"""Numbers in answers, read exactly and without a parser."""

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST_NUMBER = 60  # characters; longer ones are left to the parser
SURE_PLACES = 6  # a decimal with as many places or more may be a rounded fraction: 0.333333 is 1/3
ROUNDING = Fraction(1, 10**6)  # the largest relative error of such a decimal

_DECIMAL = r"(?P<decimal>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_POWER = r" ?(?:\*|\\times|\\cdot|[xX]) ?10 ?\^ ?\{? ?(?P<power>[-+]?[0-9]{1,2}) ?\}?|[eE](?P<e>[-+]?[0-9]{1,2})"
_FRACTION = (
    r"\\frac ?(?:\{ ?(?P<above>[0-9]+) ?\}|(?P<above_digit>[0-9])) ?(?:\{ ?(?P<below>[0-9]+) ?\}|(?P<below_digit>[0-9]))"
    r"|(?P<dividend>[0-9]+) ?/ ?(?P<divisor>[0-9]+)"
)
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?\{{?(?:{_DECIMAL}(?:{_POWER}|(?P<dozen>\*12)|_\{{?(?P<base>[0-9]{{1,2}})\}}?)?"
    rf"|(?:(?P<whole>[0-9]+)(?: ?(?=\\)| ))?(?:{_FRACTION}))\}}?(?P<percent>%?)"
)


@dataclass(frozen=True)
class Number:
    """A number that an answer states.

    Attributes:
        value: as written, so 18 for 18 %.
        percent: whether it has a percent sign.
        places: number of decimal places.
        base: the base of its digits if one is stated; `value` is the digits read as a decimal number.
    """

    value: Fraction
    percent: bool = False
    places: int = 0
    base: int | None = None

    def equals(self, other: "Number") -> bool:
        """Whether both have the same value. 18 % equals 18 as well as 0.18, and bases count only if both state one."""
        if self.base and other.base and self.base != other.base:
            return False
        return any(_same(mine, self.places, theirs, other.places) for mine in self._readings() for theirs in other._readings())

    def _readings(self) -> list[Fraction]:
        return [self.value, self.value / 100] if self.percent else [self.value]


def number(text: str) -> Number | None:
    """The number that a text without dressing (`plain`) consists of; None if it is anything else."""
    found = _NUMBER.fullmatch(text) if len(text) <= LONGEST_NUMBER else None
    if not found:
        return None
    sign, percent = -1 if found["sign"] == "-" else 1, bool(found["percent"])
    if found["decimal"]:
        digits, exponent = found["decimal"].replace(",", ""), int(found["power"] or found["e"] or 0)
        value = Fraction(digits) * Fraction(10) ** exponent * (12 if found["dozen"] else 1)
        places = max(0, len(digits.partition(".")[2]) - exponent)
        return Number(sign * value, percent, places, int(found["base"]) if found["base"] else None)
    above = int(found["above"] or found["above_digit"] or found["dividend"])
    below = int(found["below"] or found["below_digit"] or found["divisor"])
    return Number(sign * (int(found["whole"] or 0) + Fraction(above, below)), percent) if below else None


def _same(mine: Fraction, my_places: int, theirs: Fraction, their_places: int) -> bool:
    """Whether two values are equal; a decimal may also be a fraction that is rounded to six places or more."""
    if mine == theirs:
        return True
    places = max(my_places, their_places)
    if places < SURE_PLACES or (my_places and their_places):
        return False
    error = abs(mine - theirs)
    return error <= Fraction(1, 2 * 10**places) and error <= ROUNDING * abs(theirs)
