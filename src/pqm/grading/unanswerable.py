"""Solutions that state that a question cannot be answered, which is right if the gold answer is the word None (GSM-Plus)."""

import re

from pqm.grading.extraction import extract_answer
from pqm.io.formats import NO_ANSWER

_FIND = r"(?:answer|determin|calculat|comput|find|found|know|solv|figur|deduc|infer|conclud|establish|tell)\w*"
_FACTS = r"(?:information|info|data|details|facts|context)"
_CANNOT = (
    r"(?:(?:cannot|can ?not|can['’]t|could not|couldn['’]t|impossible|not possible|unable|not able|no way|insufficient to)"
    rf"(?: for \w+)?(?: to)?(?: be)?(?: \w+ly)? {_FIND}"
    rf"|(?:not|n['’]t)(?: \w+){{0,3}} (?:enough|sufficient)(?: \w+)? {_FACTS}"
    rf"|(?:insufficient|inadequate|incomplete|missing) {_FACTS}"
    rf"|(?:lacks?|lacking|without)(?: \w+){{0,2}} (?:enough|sufficient|necessary|needed|required|more|further) {_FACTS}"
    rf"|{_FACTS} (?:is|are) (?:missing|insufficient|not (?:given|provided|sufficient|enough|stated|available)|incomplete)"
    r"|no (?:definite |exact |unique |single )?answer\b"
    r"|(?:undetermined|indeterminate|unanswerable|unsolvable|underdetermined|not (?:answerable|solvable|determinable))\b)"
)
_IN_SENTENCE = re.compile(_CANNOT, re.IGNORECASE)
_AS_ANSWER = re.compile(
    r"(?:\\text\{)?\s*(?:(?:it|this|that|there|we|is|are|do|does|the|question|problem|answer|value|number|total|amount|to) )*"
    rf"(?:{_CANNOT}|(?:none|unknown|n/a|undefined by the question)[\s.}}]*$)",
    re.IGNORECASE,
)
_YET = re.compile(r"\b(?:but|however|assum\w+|suppos\w+|if we|so|therefore|thus|instead|then)\b.*[0-9]", re.IGNORECASE)


def stated_answer(text: str) -> str | None:
    """The answer that a solution states; `NO_ANSWER` if its answer or, if it states none, its last line says that there is none.

    A last line that goes on to a number ("we cannot know it, but it is at least 5") does not say so.
    """
    answer = extract_answer(text)
    if answer is not None:
        return NO_ANSWER if _AS_ANSWER.match(answer) else answer
    lines = text.strip().splitlines()
    cannot = _IN_SENTENCE.search(lines[-1]) if lines else None
    return NO_ANSWER if cannot and not _YET.search(lines[-1], cannot.end()) else None
