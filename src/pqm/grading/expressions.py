r"""Whether two expressions are equal, by `math-verify` and three checks of what it takes for equal.

`math-verify` reads only a part of a malformed expression, rounds to an absolute 15 decimals, and takes the list 9, 9 for 9.

It can hang or use all memory, so `Grader` calls this in worker processes.
"""

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Basic, Expr

DIGITS = 40  # of a number's evaluation
EXACT, ROUNDED = 1e-30, 1e-6  # largest relative differences, without and with decimals in the expressions

_ONE_LETTER = re.compile(r"\{ ([A-Za-z]) \}")
_MIXED = re.compile(r"(?<![0-9.}])([0-9]+) ([0-9]+)/([0-9]+)")
_UNREADABLE = re.compile(r"[@#&?]|(?:[-+*/^_=<>]|\\(?:times|cdot|frac|sqrt))\s*$")
_MATRIX = r"\begin{"
_SEPARATOR = re.compile(r"[,;]? *(?<![A-Za-z])(?:and|or)(?![A-Za-z])|[,;]")


def equal_expressions(answer: str, gold: str) -> bool:
    """Whether two answers without dressing (`plain`) have the same value.

    The call takes unbounded time and memory on some answers.
    """
    from math_verify import verify

    stated, wanted = _parse(answer), _parse(gold)
    if not stated or not wanted or not verify(wanted, stated, allow_set_relation_comp=True, timeout_seconds=None):
        return False
    pair = stated[0], wanted[0]
    return _as_many_parts(answer, gold, *pair) and _close(*pair)


@lru_cache(maxsize=10_000)
def _parse(text: str) -> "list[Basic | str]":
    """What `math-verify` reads; nothing if it would read only a part of the text."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    braces = text.replace(r"\{", "").replace(r"\}", "")
    if braces.count("{") != braces.count("}") or (_MATRIX not in text and _UNREADABLE.search(text)):
        return []
    config = LatexExtractionConfig(
        normalization_config=NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
        )
    )
    text = _MIXED.sub(r"(\1+\2/\3)", _ONE_LETTER.sub(r"{\1}", text))
    parsed = parse(f"${text}$", extraction_config=[config], parsing_timeout=0)
    return [_with_imaginary_unit(one) for one in parsed]


def _with_imaginary_unit(parsed: Any) -> Any:
    """The expression with i as the imaginary unit, where the parser has a variable, real or complex by the spaces around it."""
    from sympy import Basic, I, MatrixBase, Symbol

    symbols = parsed.free_symbols if isinstance(parsed, Basic | MatrixBase) else set()
    if "i" not in {symbol.name for symbol in symbols}:
        return parsed
    return parsed.xreplace({symbol: I if symbol.name == "i" else Symbol(symbol.name) for symbol in symbols})


def _as_many_parts(answer: str, gold: str, stated: object, wanted: object) -> bool:
    """Whether both lists have as many parts as written; the sets of 9, 9 and 9 are the same."""
    from sympy import FiniteSet

    if not isinstance(stated, FiniteSet) and not isinstance(wanted, FiniteSet):
        return True
    repeated = [
        isinstance(parsed, FiniteSet) and r"\pm" not in text and len(_SEPARATOR.findall(text)) + 1 > len(parsed.args)
        for text, parsed in ((answer, stated), (gold, wanted))
    ]
    return not any(repeated) or len(_SEPARATOR.findall(answer)) == len(_SEPARATOR.findall(gold))


def _close(stated: object, wanted: object) -> bool:
    """Whether two expressions that `math-verify` takes for equal are close in relation to their size."""
    from sympy import Expr, FiniteSet, Float, Interval, MatrixBase, Tuple

    def parts(one: object) -> list[Any]:
        if isinstance(one, Interval):
            return [one.start, one.end]
        return [*one] if isinstance(one, FiniteSet | Tuple | MatrixBase) else [one]

    mine, theirs = parts(stated), parts(wanted)
    if len(mine) != len(theirs) or not all(isinstance(part, Expr) for part in (*mine, *theirs)):
        return True  # relations, unions and texts are compared by their structure
    tolerance = ROUNDED if any(part.has(Float) for part in (*mine, *theirs)) else EXACT
    return all(any(_near(one, other, tolerance) for other in theirs) for one in mine) and all(
        any(_near(one, other, tolerance) for one in mine) for other in theirs
    )


def _near(one: "Expr", other: "Expr", tolerance: float) -> bool:
    """Whether two expressions are close at one point; True if one has no finite value there."""
    from sympy import Rational

    point = {symbol: Rational(zlib.crc32(str(symbol).encode()) % 1000 + 1, 997) for symbol in (one - other).free_symbols}
    values = [abs(expression.subs(point).doit().evalf(DIGITS)) for expression in (one - other, one, other)]
    if not all(value.is_Float or value.is_Integer for value in values):
        return True
    difference, *sizes = values
    return bool(difference <= tolerance * max(sizes))
