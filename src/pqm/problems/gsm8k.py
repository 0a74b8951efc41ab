"""GSM8K's format of a solution: lines with calculator annotations, then `####` and the answer."""

import re

CALCULATOR_MARKS = re.compile(r"<<.*?>>")
Row = dict[str, object]


def split_gsm8k_answer(text: str) -> tuple[list[str], str]:
    """The steps (without calculator annotations) and the gold answer of a GSM8K solution; a missing answer is an empty text."""
    body, _, answer = text.partition("####")
    steps = [CALCULATOR_MARKS.sub("", line).strip() for line in body.splitlines()]
    return [step for step in steps if step], answer.strip().replace(",", "")
