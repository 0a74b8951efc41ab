r"""The second grader: the authors' grading as they applied it on MATH500, reimplemented.

They normalise the gold answer only, and compare it with the answer as the solution spells it. So `\text{Evelyn}` is wrong where
the gold answer is `\text{Evelyn}`: 38 of MATH500's 500 gold answers are wrong by their own grading. `same_by_rules` normalises
both sides.

Numbers, lists and values are compared as leniently as in `pqm.grading.rules`. In place of the authors' computer algebra system,
expressions are evaluated in floating point.

Source: `bon_eval_utils.py`, `grader.py` and `normalizer.py` of the authors' public repository.
"""

import re
from functools import lru_cache

from pqm.grading.rules import LONGEST_ANSWER, close_numbers, same_value

DEEPEST_LIST = 5  # lists in lists
ABOUT_AN_EQUATION = (
    "Find the equation",
    "Enter the equation",
    "What is the equation",
    "described by the equation",
    "Find an equation",
)

_UNIT = r"(?:{})(?:es)?s? *(?:\^[0-9]+)?"
_UNITS = "degree cm centimeter meter mile second minute hour week month year foot feet inch yard p.m. PM"
_GOLD_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\left|\\right", ""),
        (r"\s*\\text{\s*(?:or|and)\s*}\s*", ","),
        (r"(?s)^([^\\(]|\\(?!text)|\((?!$))(.*?)\\(?:text|mbox)\s*{.*$", r"\1\2"),  # a unit
        (r"\\text{\s*([^}]+)}", r"\1"),
        (r"(?s)^.*?\\in ", ""),
        (r"\\!|\\?[$%]|\^{\\circ}", ""),
        (r" (?:or|and) ", ","),
        (r"million", "*10^6"),
        (r"billion", "*10^9"),
        (r"trillion", "*10^12"),
        *((_UNIT.format(unit), "") for unit in _UNITS.split()),
        (r"(?<!Mon)(?<!Tues)(?<!Wednes)(?<!Thurs)(?<!Fri)(?<!Satur)(?<!Sun)days?", ""),
        (r"\^ *\\circ", ""),
        (r"^{(.*)}$", r"\1"),
        (r"\\sqrt\s*(\w+)", r"\\sqrt{\1}"),
        (r" ", ""),
        (r"\\frac([0-9A-Za-z])([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac([0-9A-Za-z]){", r"\\frac{\1}{"),
        (r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))(?=[0-9,.]*$)", ""),
    )
]
_DOLLARS = re.compile(r"\$(?=[0-9])")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\\?%")
_BRACKETS = str.maketrans("", "", "{}()")
_SKIPPED = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;: ] ?|\.$|(?<=[0-9]),(?=\\! ?[0-9]{3})")
_UNREADABLE = re.compile(r"[0-9] +\\pi|[π√]|[0-9)] ?(?:pi|sqrt)(?![a-z])")  # neither Python nor LaTeX for the authors' parsers


@lru_cache(maxsize=100_000)
def same_as_applied(answer: str | None, gold: str, question: str) -> bool:
    """Whether `answer` equals `gold` by the authors' grading as they applied it.

    Args:
        answer: None, or an answer longer than `LONGEST_ANSWER`, is wrong.
        question: if it does not ask for an equation, only the right side of a gold equation counts.
    """
    if answer is None or len(answer) > LONGEST_ANSWER:
        return False
    return _same(answer, normalised_gold(gold, question), depth=0)


def normalised_gold(gold: str, question: str) -> str:
    """The gold answer as the authors normalise it."""
    for pattern, replacement in _GOLD_REWRITES:
        gold = pattern.sub(replacement, gold)
    if gold.count("=") == 1 and not any(phrase in question for phrase in ABOUT_AN_EQUATION):
        gold = gold.split("=")[1]
    return gold


def _same(answer: str, gold: str, depth: int) -> bool:
    mine, wanted = _undress(answer), _undress(gold)
    if not mine or wanted is None or _UNREADABLE.search(mine):
        return False
    if mine.lower() == wanted.lower() or mine.replace(" ", "") == wanted.replace(" ", ""):
        return True
    numbers = _as_float(mine), _as_float(wanted)
    if numbers[0] is not None and numbers[1] is not None:
        return close_numbers(numbers[0], numbers[1])
    bare = mine.translate(_BRACKETS), wanted.translate(_BRACKETS)
    if mine[0] in "([" and wanted[:1] != {"(": "[", "[": "("}[mine[0]]:
        bare = bare[0].strip("[]"), bare[1].strip("[]")
    if bare[0] == bare[1]:
        return True
    if depth < DEEPEST_LIST and "," in mine and "," in wanted:
        lists = [
            text[1:-1] if _brackets(mine) == _brackets(wanted) in ("()", "[]", "(]", "[)") else text for text in (mine, wanted)
        ]
        parts, wanted_parts = (text.split(",") for text in lists)
        return len(parts) == len(wanted_parts) and all(_same(*pair, depth + 1) for pair in zip(parts, wanted_parts))
    return same_value(_SKIPPED.sub("", mine), _SKIPPED.sub("", wanted))


def _brackets(text: str) -> str:
    return text[:1] + text[-1:]


def _undress(text: str) -> str | None:
    """The text without a leading dollar sign, percent sign or base; None if the base is not one of a number."""
    text = text.strip()
    if _DOLLARS.match(text):
        return text[1:]
    percent = _PERCENT.fullmatch(text)
    if percent:
        return percent[1]
    if "_" not in text:
        return text
    digits = _as_float(text.split("_")[0])
    return None if digits is None else f"{digits:.0f}"


def _as_float(text: str) -> float | None:
    try:
        return float(text.replace("{,}", "").replace(",", ""))
    except ValueError:
        return None
