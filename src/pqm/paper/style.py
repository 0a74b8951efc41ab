"""Names, order and colours of methods: the same everywhere, and safe for colour-blind readers (Okabe and Ito)."""

from collections.abc import Iterable
from dataclasses import dataclass

from pqm.losses.common.loss import read_method

SELF_CONSISTENCY = "+self-consistency"  # behind the method of a reward model: votes weighted by its scores


@dataclass(frozen=True)
class Style:
    """A method's name in print, its colour and its line."""

    name: str
    colour: str
    line: str | tuple[int, tuple[int, ...]] = "-"


# Methods without reward training; those of reward models have the label, colour and order of their loss.
WITHOUT_TRAINING = {
    "pass@1": Style("pass@1", "#999999", ":"),
    "random": Style("random choice", "#999999", ":"),
    "pass@n": Style("pass@n", "#555555", ":"),
    "self-consistency": Style("self-consistency", "#000000", "--"),
    "policy-likelihood": Style("policy's likelihood", "#bbbbbb", "-."),
    "backbone-likelihood": Style("backbone's likelihood", "#000000", "-."),
    "step-classifier": Style("backbone's step classifier", "#555555", (0, (5, 1))),
}
OF_BACKBONE = ("backbone-likelihood", "step-classifier")  # what the reference backbone does without reward training
# Two methods of a loss are often drawn together: the paper's main margin, and soft labels.
COLOURS = {"pqm-zeta4": "#D55E00", "mse-soft": "#CC79A7"}
UNKNOWN = "#444444"


def style(method: str) -> Style:
    """The style of a method; the line of a vote with a reward model is dashed."""
    base = method.removesuffix(SELF_CONSISTENCY)
    found = WITHOUT_TRAINING.get(base) or _of_loss(base)
    return found if base == method else Style(f"{found.name}, and self-consistency", found.colour, "--")


def _of_loss(method: str) -> Style:
    known = read_method(method)
    return Style(known.label, COLOURS.get(method, known.loss.colour)) if known else Style(method, UNKNOWN)


def printed(method: str) -> str:
    """The name of a method in print."""
    return style(method).name


def in_print_order(methods: Iterable[str]) -> list[str]:
    """Each method once: references, then losses by their order and settings, a vote with a reward model after the model alone."""
    return sorted(set(methods), key=_key)


def _key(method: str) -> tuple[int, int, str, tuple[tuple[bool, float | str], ...], str, bool]:
    base = method.removesuffix(SELF_CONSISTENCY)
    vote = base != method
    if base in WITHOUT_TRAINING:
        return 0, list(WITHOUT_TRAINING).index(base), "", (), base, vote
    known = read_method(base)
    if known is None:
        return 2, 0, "", (), base, vote
    settings = tuple((isinstance(value, str), value) for value in known.settings)
    return 1, known.loss.order, known.loss.label, settings, base, vote
