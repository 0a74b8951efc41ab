"""Answers that are equal in value, for votes: `70000` and `$70,000` are the same answer."""

import atexit
import cmath
from collections.abc import Sequence
from functools import cache, lru_cache

from pqm.grading.evaluation import Evaluated, NoExpressionError, parts
from pqm.grading.grader import LONGEST_READING, Grader
from pqm.grading.notation import plain
from pqm.grading.reading import same_by_reading

SURELY_DIFFERENT = 1e-3  # relative difference of two values in floating point
READ_OTHERWISE = (
    r"\sqrt[",
    r"\pm",
    r"\mp",
    "_",
    "%",
    " and ",
    " or ",
)  # the evaluation in floating point reads these in another way


def first_spellings(answers: Sequence[str | None]) -> list[str | None]:
    """The answers of one question, each replaced by the first one that the grader takes for equal; None stays None.

    An answer is compared with the first answer of each class so far, and joins the first class that it equals.
    """
    firsts: list[str] = []
    spelling: dict[str | None, str | None] = {None: None}
    for answer in answers:
        if answer in spelling:
            continue
        assert answer is not None
        first = _first_equal(answer, firsts)
        if first is None:
            firsts.append(answer)
        spelling[answer] = first or answer
    return [spelling[answer] for answer in answers]


def _first_equal(answer: str, firsts: Sequence[str]) -> str | None:
    """The first of some answers that the grader takes for equal to `answer`; only candidates are given to the parser."""
    verdicts = [_verdict(answer, first) for first in firsts]
    end = verdicts.index(True) if True in verdicts else len(firsts)
    candidates = [first for first, verdict in zip(firsts[:end], verdicts) if verdict is None]
    graded = _grader()([(answer, first) for first in candidates])
    return next((first for first, equal in zip(candidates, graded) if equal), firsts[end] if end < len(firsts) else None)


@lru_cache(maxsize=100_000)
def _verdict(answer: str, gold: str) -> bool | None:
    """The grader's verdict, if it needs no parser or if the values are far from each other; else None."""
    if max(len(answer), len(gold)) > LONGEST_READING:
        return None
    mine, theirs = _plain(answer), _plain(gold)
    verdict = same_by_reading(mine, theirs)
    if verdict is None and ("=" in mine) != ("=" in theirs):  # the grader compares the value that an equation ends with
        mine, theirs = mine.rsplit("=", 1)[-1], theirs.rsplit("=", 1)[-1]
    return False if verdict is None and _far(_values(mine), _values(theirs)) else verdict


def _far(mine: Sequence[complex] | None, theirs: Sequence[complex] | None) -> bool:
    """Whether two answers have another number of parts, or parts of clearly other values."""
    if mine is None or theirs is None:
        return False
    return len(mine) != len(theirs) or not all(cmath.isclose(*pair, rel_tol=SURELY_DIFFERENT) for pair in zip(mine, theirs))


_plain = lru_cache(maxsize=100_000)(plain)


@lru_cache(maxsize=100_000)
def _values(text: str) -> tuple[complex, ...] | None:
    """The sorted values of the parts of an answer in floating point; None if one cannot be evaluated."""
    if any(notation in text for notation in READ_OTHERWISE):
        return None
    try:
        values = [Evaluated(part, point=0).value for part in parts(text.removeprefix("\\{").removesuffix("\\}"))]
    except (NoExpressionError, ArithmeticError, ValueError):
        return None
    return tuple(sorted(values, key=lambda value: (round(value.real, 6), value.imag)))


@cache
def _grader() -> Grader:
    """One grader per process, because it remembers its verdicts."""
    grader = Grader()
    atexit.register(grader.__exit__)
    return grader
