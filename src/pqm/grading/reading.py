"""Verdicts on answers that need no parser: numbers and words."""

import re

from pqm.grading.numbers import number

LONGEST_PRODUCT = 2  # letters; longer texts of letters are words, not products of variables

_LETTERS = re.compile(r"\(?[A-Za-z][A-Za-z'’]*(?:[ -][A-Za-z'’]+)*\)?")
_ARTICLE = re.compile(r"(?:an?|the|option|choice) (?=[a-z(])", re.IGNORECASE)
_FUNCTION = re.compile(r"(?<![a-z])(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt)(?![a-z])")


def same_by_reading(answer: str, gold: str) -> bool | None:
    """The verdict on two answers without dressing (`plain`) that need no parser, because both are numbers or words; else None."""
    if answer == gold:
        return bool(gold)
    numbers = number(answer), number(gold)
    if numbers[0] and numbers[1]:
        return numbers[0].equals(numbers[1])
    letters = _letters(answer), _letters(gold)
    if (letters[0] and letters[1] and (_is_word(answer) or _is_word(gold))) or (
        (numbers[0] and _is_word(gold)) or (numbers[1] and _is_word(answer))
    ):
        return letters[0] == letters[1]
    return None


def _letters(text: str) -> str | None:
    """The letters of a text that has only letters, in lower case and without an article or brackets."""
    text = _ARTICLE.sub("", text, count=1)
    return text.strip("()").lower() if _LETTERS.fullmatch(text) else None


def _is_word(text: str) -> bool:
    """Whether a text is one or more words or the letter of a choice in brackets, and not a product of variables."""
    longest = max(map(len, re.split(r"[ ()-]+", text)))
    return _letters(text) is not None and (text.startswith("(") or (longest > LONGEST_PRODUCT and not _FUNCTION.search(text)))
