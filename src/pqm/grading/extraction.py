r"""The answer that a solution states.

It is the content of the last `\boxed{..}`, or else what follows the last phrase such as `####`, `A:`, `the answer is` or, if
there is none, `therefore` and `approximately`. There is no fallback to the last number of the text. What a sentence adds to the
answer ("72 because 6*12 is 72") is cut off. The time is linear in the length of the text.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator

from pqm.grading.notation import LEAD

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{|[{}]")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox) {0,9}([-+]?[0-9.][^\s${}\\]*)")
_IS = r"(?:is|are|was|were|equals|(?:would|will|should|must) be)"
_ANSWER = re.compile(
    rf"(?P<stated>####|\bA:|(?<!\bno )\b[Aa](?:nswer|NSWER)s?\b"
    rf"(?: (?:to|for|of) [^.\n:=]{{1,80}}?)?(?:\s{{1,9}}{_IS}\b|[\s*]{{0,9}}[:=])+)[ \t*:]*"
    r"|\b[Aa]nswer\b[ \t*]*"
)
_CONCLUSION = re.compile(
    rf"\b(?i:therefore|thus|hence|approximately)\b[,:]?[ \t]*(?:(?:it|that|this) {_IS} |there {_IS} |we (?:get|have) )?"
)
_VALUE = re.compile(rf"(?:{LEAD})?(?:\$?[A-Za-z] ?= ?)?[-+(\[{{$€£¥*]{{0,3}}(?:\.?[0-9]|\\[A-Za-z({{\[$]|(?<=\$)[A-Za-z])")
_NAME = re.compile(r"\(?[A-Z][A-Za-z]*\)?\W*$")
_SENTENCE_END = re.compile(r"(?<!\.[A-Za-z])(?<!\bRs)(?<!approx)[.?](?=\s|$)|!(?=\s+[A-Z]|\W*$)")
_NUMBER_BEGIN = r"(?=[-+($€£¥\\]{0,3}\.?[0-9])"
_TOTAL_IS = re.compile(rf"[A-Za-z][A-Za-z'’, -]*\b{_IS} {_NUMBER_BEGIN}")
_SOMEONE_HAS = re.compile(rf"[A-Z][a-z]+ [A-Za-z'’ -]*{_NUMBER_BEGIN}")
_COMPARED = re.compile(r"\b(?:not|no|than|least|most|between|minus|negative|half|over|under|above|below|except)\b")
_ADDED = re.compile(
    r"[,;]?\s{1,9}(?:[-–—]\s{1,9})?\(?"
    r"(?:because|since|so|as|which|where|when|thus|hence|therefore|given|if|but|i\.e|due to|by [a-z]+ing)\b"
    r"|[,;]\s{1,9}(?!(?:and|or)\b)[A-Za-z]{2,}|\s\((?=[A-Za-z][a-z]+[ )]|[^()\\]{0,99}=)|\s[-–—]\s(?=[A-Za-z]{2})"
    r"|(?<=[a-z])\s(?:in|on|at|for|from|with|after|before|during)\b(?=\D{0,99}[0-9])"
)
_LEADS = re.compile(LEAD)
_DIGIT_OR_COMMAND = re.compile(r"[0-9\\]")
_NOTHING = re.compile(r"^(?:\s|(?:\$\$|\\\[)\s{0,9}\n)*")
PHRASES = 20  # from the end, that are looked at
LONGEST_STATEMENT = 10_001  # characters, one more than an answer may have


def extract_answer(text: str) -> str | None:
    """The answer that a solution states; None if it states none."""
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    stated: str | None = None
    for phrase in _last(_ANSWER.finditer(text)):
        statement = _statement(text, phrase.end())
        if _VALUE.match(statement) or (phrase["stated"] and _NAME.match(statement)):
            return _value(statement)
        if phrase["stated"] and statement and stated is None:
            stated = statement
    if stated is not None:
        return _value(stated)
    conclusions = (_statement(text, phrase.end()) for phrase in _last(_CONCLUSION.finditer(text)))
    return next((_value(one) for one in conclusions if _VALUE.match(one) or _begins(_TOTAL_IS, one)), None)


def _last(phrases: Iterable[re.Match[str]]) -> Iterator[re.Match[str]]:
    """The last phrases, in reverse order."""
    return reversed(deque(phrases, maxlen=PHRASES))


def _statement(text: str, begin: int) -> str:
    """The rest of the line, or the next line that has more than the beginning of mathematics."""
    return _NOTHING.sub("", text[begin : begin + LONGEST_STATEMENT], count=1).split("\n", 1)[0]


def _value(statement: str) -> str | None:
    """A statement without what its sentence adds to the answer."""
    value = _SENTENCE_END.split(statement, maxsplit=1)[0].strip(" \t*")
    begin = _begins(_TOTAL_IS, value) or _begins(_SOMEONE_HAS, value) or _LEADS.match(value)
    value = value[begin.end() :] if begin else value
    first = _DIGIT_OR_COMMAND.search(value)
    added = _ADDED.search(value, first.start()) if first else None
    return value[: added.start() if added else None].strip(" \t*`") or None


def _begins(pattern: re.Pattern[str], statement: str) -> re.Match[str] | None:
    """The words before the number of a sentence, unless they compare ("less than") or deny."""
    found = pattern.match(statement)
    return None if found and _COMPARED.search(found[0]) else found


def _last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{` that is closed, or of a later `\boxed 72`."""
    opened: list[tuple[int, bool]] = []  # for each open brace: where its content begins, and whether it is a box
    begin, end = -1, -1
    for brace in _BOX.finditer(text):
        if brace[0] != "}":
            opened.append((brace.end(), brace[0] != "{"))
        elif opened:
            place, is_box = opened.pop()
            if is_box and place > begin:
                begin, end = place, brace.start()
    bare = next(_last(_BARE_BOX.finditer(text)), None)
    if bare and bare.start() > begin:
        return bare[1].rstrip(".,;:!)") or None
    return text[begin:end].strip() if begin >= 0 else None
