"""Which answer a solution gives, and whether it is right: `math-verify`, and plain string rules as a second opinion."""

import logging
import re
from functools import lru_cache

MATH_VERIFY, STRING_RULES = "math-verify", "string rules"

_ANSWER_PHRASES = re.compile(r"(?:####|\bA:|\b[Aa]nswer\b(?:\s+is\b)?:?)[ \t*:]*(?=(\n*[^\n]+))")
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_DRESS = re.compile(r"\\(?:text|mathrm|left|right|!|;|%|\$)|[$%]|\\?°|(?<=\d),(?=\d{3}(?!\d))")
_SPACES = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


def extract_answer(text: str) -> str | None:
    r"""The answer that a solution states: its last `\boxed{..}`, else what follows its last `####`, `A:` or `answer`."""
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    phrases = _ANSWER_PHRASES.findall(text)
    if not phrases:
        return None
    first_line = phrases[-1].strip().split("\n")[0]
    return _SENTENCE_END.split(first_line)[0].strip(" \t*") or None


def _last_boxed(text: str) -> str | None:
    """The content of the last box that is closed."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth, begin = 0, start + len("\\boxed{")
        for place in range(begin - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[begin:place]
        start = text.rfind("\\boxed{", 0, start)
    return None


@lru_cache(maxsize=1_000_000)
def is_right(answer: str | None, gold: str) -> bool:
    """Whether `answer` equals `gold` in value, by `math-verify`; equal texts need no parser."""
    if answer is None:
        return False
    if same_string(answer, gold):
        return True
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


def same_string(answer: str | None, gold: str) -> bool:
    """Whether both read the same once spaces (not between digits), dollar signs, thousands commas and LaTeX dress are off."""
    return answer is not None and _undress(answer) == _undress(gold)


def _undress(text: str) -> str:
    bare = _SPACES.sub("", _DRESS.sub("", text.replace("{,}", ",").replace(",\\!", ",")))
    return re.sub(r"(\d)\.0+$", r"\1", bare)
