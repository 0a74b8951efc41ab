"""Which answer a solution gives, and whether it is right: `math-verify`, and plain string rules as a second opinion."""

import logging
import re
from functools import lru_cache

MATH_VERIFY, STRING_RULES = "math-verify", "string rules"

_ANSWER_PHRASES = re.compile(r"(?:####|\bA:|\b[Aa]nswer(?:\s+is)?:?)[ \t]*([^\n]+)")
_DRESS = re.compile(r"\\(?:text|mathrm|left|right|!|,|;|%|\$)|[\s$,%]|\\?°")


def extract_answer(text: str) -> str | None:
    r"""The answer that a solution states: its last `\boxed{..}`, else what follows its last `####`, `A:` or `answer`."""
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    phrases = _ANSWER_PHRASES.findall(text)
    return phrases[-1].strip().rstrip(".").strip() or None if phrases else None


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for place in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
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
    """Whether both read the same once spaces, dollar signs, thousands commas and LaTeX dress are taken off."""
    return answer is not None and _undress(answer) == _undress(gold)


def _undress(text: str) -> str:
    bare = _DRESS.sub("", text)
    return re.sub(r"(\d)\.0+$", r"\1", bare)
