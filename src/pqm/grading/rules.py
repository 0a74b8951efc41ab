r"""The second grader: the rules of the grader of the paper's authors, reimplemented.

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
import zlib
from collections.abc import Callable
from functools import lru_cache

LONGEST_ANSWER = 1_000  # characters; the authors have the same limit
DEEPEST = 40  # nested brackets
NUMBER_TOLERANCE, SYMBOL_TOLERANCE = 1e-4, 1e-9  # relative
POINTS = 3  # points at which expressions with variables are compared

_AND_OR = re.compile(r" ?\\text ?\{ ?(?:or|and) ?\} ?|(?<= )(?:or|and)(?= )")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm) ?\{ ?")
_UNITS = re.compile(
    r"(?<![A-Za-z\\])(?:degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard|p\.m\.|PM)(?:e?s)?"
    r"(?![A-Za-z])(?: ?\^ ?\{?[0-9]+\}?)?"
)
_DRESS = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\! ?|\\[,;]|\\?[$%]|\^ ?\{? ?\\circ ?\}?|\\?°")
_MIXED = re.compile(r"(?<![0-9.])([0-9]+)(?: ?\\[dt]?frac ?\{?([0-9]+?)\}? ?\{?([0-9]+)\}?| ([0-9]+)/([0-9]+))")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_SPACE = re.compile(r"(\\[A-Za-z]+ )(?=[A-Za-z])| ")  # a space between a command and a letter is kept
_ASSIGNED = re.compile(r"[A-Za-z](?:\([A-Za-z]\))?=")
_BASE = re.compile(r"([0-9]+)_(?:[0-9]|\{[0-9]+\})")
_SCALES = {"million": "*10^6", "billion": "*10^9", "trillion": "*10^12"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_MATRIX = re.compile(r"\\begin\{([pbv]?matrix)\}(.*)\\end\{\1\}")
_BRACES = str.maketrans("", "", "{}()")
_TOKEN = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+|\\[A-Za-z]+|[A-Za-z]+|\S")


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
        value, wanted = float(answer), float(gold)
        return any(
            math.isfinite(one) and math.isclose(one, value, rel_tol=NUMBER_TOLERANCE)
            for one in (wanted / 100, wanted, wanted * 100)
        )
    if answer.translate(_BRACES) == gold.translate(_BRACES):
        return True
    parts, wanted_parts = _parts(answer), _parts(gold)
    if len(wanted_parts) > 1 or len(parts) > 1:
        return len(parts) == len(wanted_parts) and all(
            _same(part, wanted_part, depth + 1) for part, wanted_part in zip(parts, wanted_parts)
        )
    return _same_value(answer, gold)


def _parts(text: str) -> list[str]:
    """The entries of a matrix, tuple, interval or list; the outer brackets are entries too if one of them is square."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return re.split(r"\\\\|&", matrix[2])
    inner = text[1:-1] if text[:1] in "([" and text[-1:] in ")]" else text
    parts, depth, start = [], 0, 0
    for place, character in enumerate(inner):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(inner[start:place])
            start = place + 1
    parts.append(inner[start:])
    if len(parts) > 1 and inner is not text and text[0] + text[-1] in ("[)", "(]", "[]"):
        parts += [text[0], text[-1]]
    return parts


def _same_value(answer: str, gold: str) -> bool:
    """Whether both are expressions with the same value at all points."""
    try:
        for point in range(POINTS):
            mine, wanted = _Expression(answer, point), _Expression(gold, point)
            tolerance = SYMBOL_TOLERANCE if mine.has_variables or wanted.has_variables else NUMBER_TOLERANCE
            if not cmath.isclose(mine.value, wanted.value, rel_tol=tolerance, abs_tol=1e-12) or not cmath.isfinite(wanted.value):
                return False
    except (_NoExpressionError, ArithmeticError, ValueError):
        return False
    return True


class _NoExpressionError(Exception):
    pass


_CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "π": math.pi, "i": 1j, "e": math.e}
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "\\sin": cmath.sin, "\\cos": cmath.cos, "\\tan": cmath.tan, "\\cot": lambda x: 1 / cmath.tan(x),
    "\\sec": lambda x: 1 / cmath.cos(x), "\\csc": lambda x: 1 / cmath.sin(x), "\\ln": cmath.log, "\\log": cmath.log,
    "\\arcsin": cmath.asin, "\\arccos": cmath.acos, "\\arctan": cmath.atan, "\\exp": cmath.exp,
}  # fmt: skip
_WORDS = {name.removeprefix("\\"): name for name in (*_FUNCTIONS, "\\pi", "\\sqrt", "\\frac")}
_SPELLINGS = {"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cdot": "*", "\\times": "*", "\\div": "/", "×": "*", "·": "*", "−": "-"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class _Expression:
    """Evaluates an expression in LaTeX or plain notation at one of the fixed points."""

    def __init__(self, text: str, point: int) -> None:
        tokens = (_SPELLINGS.get(token, token) for token in _TOKEN.findall(text))
        self._tokens = [_WORDS.get(token, token) for token in tokens][::-1]  # the next token is the last item
        self._point, self._depth = point, 0
        self.has_variables = False
        self.value = self._sum()
        if self._tokens:
            raise _NoExpressionError

    def _next(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _take(self) -> str:
        if not self._tokens:
            raise _NoExpressionError
        return self._tokens.pop()

    def _sum(self) -> complex:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _NoExpressionError
        value = self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        self._depth -= 1
        return value

    def _product(self) -> complex:
        sign = 1
        while self._next() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        value = self._power()
        while self._next() not in ("", "+", "-", ")", "]", "}"):
            operator = self._take() if self._next() in ("*", "/") else "*"
            value = value / self._power() if operator == "/" else value * self._power()
        return sign * value

    def _power(self) -> complex:
        base = self._atom()
        if self._next() != "^":
            return base
        self._take()
        sign = -1 if self._next() == "-" and self._take() else 1
        return complex(base ** (sign * self._atom()))

    def _atom(self) -> complex:
        token = self._take()
        if token[0].isdecimal() or token[0] == ".":
            return float(token)
        if token in _CLOSING:
            value = self._sum()
            if self._take() != _CLOSING[token]:
                raise _NoExpressionError
            return value
        if token == "\\frac":
            return self._argument() / self._argument()
        if token == "\\sqrt":
            return cmath.sqrt(self._atom())
        if token in _FUNCTIONS:
            self._depth += 1
            if self._depth > DEEPEST:
                raise _NoExpressionError
            value = _FUNCTIONS[token](self._power())
            self._depth -= 1
            return value
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        return self._variable(token)

    def _argument(self) -> complex:
        r"""The argument of a fraction: a group, or one digit (`\frac43` is four thirds)."""
        token = self._next()
        if len(token) > 1 and token.isdecimal():
            self._tokens[-1:] = [token[1:], token[0]]
        return self._atom()

    def _variable(self, token: str) -> complex:
        name = token.removeprefix("\\")
        if not name.isascii() or not name.isalpha() or (token == name and len(name) > 2):  # longer names are words
            raise _NoExpressionError
        if token == name and len(name) == 2:
            self._tokens.append(name[1])
            return self._variable(name[0])
        self.has_variables = True
        return 0.5 + zlib.crc32(f"{name} at point {self._point}".encode()) / 2**32
