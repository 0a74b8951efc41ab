"""Why a sample ended. Engines have several names for the same reason; tables have `stop` and `length`."""

from collections.abc import Iterable, Sequence

from pqm.errors import PqmError, shortened
from pqm.progress import say

REASONS = {"stop": "stop", "eos": "stop", "eos_token": "stop", "length": "length", "max_tokens": "length"}


def finish_reason(name: object) -> str:
    """`stop` or `length` for any engine's name of it, in upper or lower case; a missing reason (None or NaN) counts as `stop`.

    Raises:
        ValueError: the name is another one; the message names no place.
    """
    if _is_missing(name):
        return "stop"
    if isinstance(name, str) and name.lower() in REASONS:
        return REASONS[name.lower()]
    raise ValueError(f"expected {', '.join(REASONS)} or null, found {shortened(name)}")


def finish_reasons(names: Iterable[object], origin: object, places: Sequence[str] = ()) -> list[str]:
    """The reasons of a file's samples, see `finish_reason`; the log says how many are missing.

    Args:
        origin: the file, for messages.
        places: the place of each sample in the file, for messages; by default `row 0`, `row 1` and so on.

    Raises:
        PqmError: a reason has another name.
    """
    reasons, missing = [], 0
    for row, name in enumerate(names):
        missing += _is_missing(name)
        try:
            reasons.append(finish_reason(name))
        except ValueError as error:
            place = places[row] if places else f"row {row}"
            raise PqmError(f"{origin}: {place}, finish_reason: {error}") from None
    if missing:
        say(f"{origin}: {missing} of {len(reasons)} samples have no finish_reason; they count as complete (stop)")
    return reasons


def _is_missing(name: object) -> bool:
    return name is None or name != name
