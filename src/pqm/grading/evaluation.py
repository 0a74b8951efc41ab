"""Values of expressions in floating point: in bounded time, without computer algebra and without `eval`."""

import cmath
import math
import re
import zlib
from collections.abc import Callable

DEEPEST = 40  # nested brackets

_MATRIX = re.compile(r"\\begin\{([pbv]?matrix)\}(.*)\\end\{\1\}")
_TOKEN = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+|\\[A-Za-z]+|[A-Za-z]+|\S")


def parts(text: str) -> list[str]:
    """The entries of a matrix, or what the commas of a tuple, interval or list separate; the text itself if it has no parts."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return re.split(r"\\\\|&", matrix[2])
    inner = text[1:-1] if text[:1] in ("(", "[") and text[-1:] in (")", "]") else text
    found, depth, start = [], 0, 0
    for place, character in enumerate(inner):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            found.append(inner[start:place])
            start = place + 1
    return [*found, inner[start:]] if found else [text]


class NoExpressionError(Exception):
    """The text is not an expression that can be evaluated."""


_CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "π": math.pi, "i": 1j, "e": math.e}
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "\\sin": cmath.sin, "\\cos": cmath.cos, "\\tan": cmath.tan, "\\cot": lambda x: 1 / cmath.tan(x),
    "\\sec": lambda x: 1 / cmath.cos(x), "\\csc": lambda x: 1 / cmath.sin(x), "\\ln": cmath.log, "\\log": cmath.log,
    "\\arcsin": cmath.asin, "\\arccos": cmath.acos, "\\arctan": cmath.atan, "\\exp": cmath.exp,
}  # fmt: skip
_WORDS = {name.removeprefix("\\"): name for name in (*_FUNCTIONS, "\\pi", "\\sqrt", "\\frac")}
_SPELLINGS = {"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cdot": "*", "\\times": "*", "\\div": "/", "×": "*", "·": "*", "−": "-"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Evaluated:
    """The value of an expression in LaTeX or plain notation.

    Attributes:
        value: with each variable at a fixed number, which depends on its name and on `point`.
        has_variables: whether there are any.

    Raises:
        NoExpressionError: the text is not an expression of the functions and operators above, or nested too deeply.
        ArithmeticError, ValueError: there is no value, such as for 1/0.
    """

    def __init__(self, text: str, point: int) -> None:
        tokens = (_SPELLINGS.get(token, token) for token in _TOKEN.findall(text))
        self._tokens = [_WORDS.get(token, token) for token in tokens][::-1]  # the next token is the last item
        self._point, self._depth = point, 0
        self.has_variables = False
        self.value = self._sum()
        if self._tokens:
            raise NoExpressionError

    def _next(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _take(self) -> str:
        if not self._tokens:
            raise NoExpressionError
        return self._tokens.pop()

    def _sum(self) -> complex:
        self._depth += 1
        if self._depth > DEEPEST:
            raise NoExpressionError
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
                raise NoExpressionError
            return value
        if token == "\\frac":
            return self._argument() / self._argument()
        if token == "\\sqrt":
            return cmath.sqrt(self._atom())
        if token in _FUNCTIONS:
            self._depth += 1
            if self._depth > DEEPEST:
                raise NoExpressionError
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
            raise NoExpressionError
        if token == name and len(name) == 2:
            self._tokens.append(name[1])
            return self._variable(name[0])
        self.has_variables = True
        return 0.5 + zlib.crc32(f"{name} at point {self._point}".encode()) / 2**32
