r"""The rules of the grader of the paper's authors, applied to both sides, reimplemented.

Answers are normalised as text (units, percent, degrees, thousands, `x =`, mixed numbers) and then compared as text, as numbers,
part by part, and by value. The rules are lenient, so use them together with `math-verify`: 50 equals 0.5 and 5000, 10000 equals
10001, and (1, 2) equals 1, 2. The authors use a computer algebra system, and `eval`, on text written by a model. Here
expressions are evaluated in floating point at fixed points, in bounded time; expressions that cannot be parsed are compared as
text only.

Source: `grader.py` and `normalizer.py` of the authors' public repository, which follow the graders of MATH and PRM800K.
"""

import cmath
import math
import re
from functools import lru_cache

from pqm.grading.evaluation import DEEPEST, Evaluated, NoExpressionError, parts

LONGEST_ANSWER = 1_000  # characters; the authors have the same limit
NUMBER_TOLERANCE, SYMBOL_TOLERANCE = 1e-4, 1e-9  # relative
POINTS = 3  # points at which expressions with variables are compared

_AND_OR = re.compile(r" ?\\text ?\{ ?(?:or|and) ?\} ?|(?<= )(?:or|and)(?= )")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm) ?\{ ?")
_UNITS = re.compile(
    r"(?<![A-Za-z\\])(?:degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard|p\.m\.|PM)"
    r"(?:e?s)?(?![A-Za-z])(?: ?\^ ?\{?[0-9]+\}?)?"
)
_DRESS = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\! ?|\\[,;]|\\?[$%]|\^ ?\{? ?\\circ ?\}?|\\?°")
_MIXED = re.compile(r"(?<![0-9.])([0-9]+)(?: ?\\[dt]?frac ?\{?([0-9]+?)\}? ?\{?([0-9]+)\}?| ([0-9]+)/([0-9]+))")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_SPACE = re.compile(r"(\\[A-Za-z]+ )(?=[A-Za-z])| ")  # a space between a command and a letter is kept
_ASSIGNED = re.compile(r"[A-Za-z](?:\([A-Za-z]\))?=")
_BASE = re.compile(r"([0-9]+)_(?:[0-9]|\{[0-9]+\})")
_SCALES = {"million": "*10^6", "billion": "*10^9", "trillion": "*10^12"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_BRACES = str.maketrans("", "", "{}()")


@lru_cache(maxsize=100_000)
def same_by_rules(answer: str | None, gold: str) -> bool:
    """Whether `answer` equals `gold` by the authors' rules; no answer, or one longer than `LONGEST_ANSWER`, is wrong."""
    if answer is None or len(answer) > LONGEST_ANSWER:
        return False
    return _same(normalise(answer), normalise(gold), depth=0)


def normalise(text: str) -> str:
    """Normalise an answer: remove spaces, units and other differences in notation."""
    text = _AND_OR.sub(",", " ".join(text.split()))
    text = _DRESS.sub("", text.replace("{,}", ","))
    text = _strip_text(text).split("\\in ")[-1]
    for word, factor in _SCALES.items():
        text = text.replace(word, factor)
    text = _MIXED.sub(lambda part: f"({part[1]}+{part[2] or part[4]}/{part[3] or part[5]})", _UNITS.sub("", text))
    text = _SPACE.sub(lambda part: part[1] or "", text)
    text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    text = _ASSIGNED.sub("", text, count=1) if text.count("=") == 1 and _ASSIGNED.match(text) else text
    text = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    base = _BASE.fullmatch(text)
    return (base[1] if base else text).rstrip(".")


def _strip_text(text: str) -> str:
    r"""Remove a `\text{..}` after a value, which is its unit; elsewhere keep only its content."""
    found = list(_TEXT.finditer(text))
    if len(found) == 1 and text[: found[0].start()].strip(" ("):
        return text[: found[0].start()]
    return _TEXT.sub("", text).replace("}", "") if found and text.count("{") == len(found) else text


def _same(answer: str, gold: str, depth: int) -> bool:
    if not answer or depth > DEEPEST:
        return False
    if answer.lower() == gold.lower():
        return True
    if _NUMBER.fullmatch(answer) and _NUMBER.fullmatch(gold):
        return close_numbers(float(answer), float(gold))
    if answer.translate(_BRACES) == gold.translate(_BRACES):
        return True
    mine, wanted_parts = _parts(answer), _parts(gold)
    if len(wanted_parts) > 1 or len(mine) > 1:
        return len(mine) == len(wanted_parts) and all(
            _same(part, wanted_part, depth + 1) for part, wanted_part in zip(mine, wanted_parts)
        )
    return same_value(answer, gold)


def close_numbers(answer: float, gold: float) -> bool:
    """Whether two numbers are close, up to a factor of 100."""
    return any(
        math.isfinite(one) and math.isclose(one, answer, rel_tol=NUMBER_TOLERANCE) for one in (gold / 100, gold, gold * 100)
    )


def _parts(text: str) -> list[str]:
    """The parts of a matrix, tuple, interval or list; the outer brackets are parts too if one of them is square."""
    found = parts(text)
    brackets = text[:1] + text[-1:]
    return [*found, *brackets] if len(found) > 1 and brackets in ("[)", "(]", "[]") else found


def same_value(answer: str, gold: str) -> bool:
    """Whether both are expressions with the same value at all points."""
    try:
        for point in range(POINTS):
            mine, wanted = Evaluated(answer, point), Evaluated(gold, point)
            tolerance = SYMBOL_TOLERANCE if mine.has_variables or wanted.has_variables else NUMBER_TOLERANCE
            around_zero = 0.0 if mine.value and wanted.value else 1e-12
            close = cmath.isclose(mine.value, wanted.value, rel_tol=tolerance, abs_tol=around_zero)
            if not close or not cmath.isfinite(wanted.value):
                return False
    except (NoExpressionError, ArithmeticError, ValueError):
        return False
    return True
