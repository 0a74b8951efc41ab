"""Single values of published data: gold answers and truth values, which publishers write in several types."""

import math
from decimal import Decimal

from pqm.errors import shortened


def gold_answer(value: object) -> str:
    """The text of a gold answer: a text, a number, or a list of one of these.

    Raises:
        ValueError: it is missing (null, NaN or blank), there are several, or it has another type.
    """
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if one is None or one != one or (isinstance(one, str) and not one.strip()):
        raise ValueError("the gold answer is empty; expected one per question")
    if isinstance(one, str):
        return one
    if isinstance(one, bool) or not isinstance(one, int | float) or one in (math.inf, -math.inf):
        raise ValueError(f"expected one gold answer, a text or a number, found {shortened(value)}")
    return format(Decimal(str(one)), "f")


def truth_value(value: object) -> bool:
    """A truth value: true or false, or one of these words in upper or lower case.

    Raises:
        ValueError: it is something else, such as a number or another text.
    """
    word = value.lower() if isinstance(value, str) else value
    if word in ("true", "false"):
        return word == "true"
    if not isinstance(word, bool):
        raise ValueError(f"expected true or false, found {shortened(value)}")
    return word
