"""Solutions that state that a question cannot be answered, which is right if the gold answer is the word None (GSM-Plus)."""

import re

from pqm.grading.grader import extract_answer
from pqm.io.formats import NO_ANSWER

_CANNOT = (
    r"(?:cannot|can ?not|can't|could not|couldn't|impossible to|not possible to|unable to)(?: be)?"
    r" (?:answer|determin|calculat|comput|find|found|know|solv|figure)\w*"
    r"|(?:not enough|insufficient|not sufficient) (?:information|data|details)|(?:undetermined|indeterminate|unanswerable)\b"
)
_IN_SENTENCE = re.compile(_CANNOT, re.IGNORECASE)
_AS_ANSWER = re.compile(
    rf"(?:\\text\{{)?\s*(?:(?:it|this|that|there|is|are|the|question|problem) )*(?:{_CANNOT}|(?:none|unknown)[\s.}}]*$)",
    re.IGNORECASE,
)


def stated_answer(text: str) -> str | None:
    """The answer that a solution states; `NO_ANSWER` if its answer or last line states that there is none."""
    answer = extract_answer(text)
    lines = text.strip().splitlines()
    says_none = _AS_ANSWER.match(answer) if answer is not None else lines and _IN_SENTENCE.search(lines[-1])
    return NO_ANSWER if says_none else answer
