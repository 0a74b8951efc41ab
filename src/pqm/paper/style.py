"""Names, order and colours of methods: the same everywhere, and safe for colour-blind readers (Okabe and Ito)."""

from dataclasses import dataclass

SELF_CONSISTENCY = "+self-consistency"


@dataclass(frozen=True)
class Style:
    """A method's name in print, its colour and its line."""

    name: str
    colour: str
    line: str | tuple[int, tuple[int, ...]] = "-"


STYLES = {
    "pass@1": Style("pass@1", "#999999", ":"),
    "random": Style("random choice", "#999999", ":"),
    "pass@n": Style("pass@n", "#555555", ":"),
    "self-consistency": Style("self-consistency", "#000000", "--"),
    "policy-likelihood": Style("likelihood, policy", "#bbbbbb", "-."),
    "backbone-likelihood": Style("likelihood, backbone", "#777777", "-."),
    "proofreader": Style("backbone's own mark", "#555555", (0, (5, 1))),
    "orm": Style("ORM", "#E69F00"),
    "mse-hard": Style("MSE, hard", "#56B4E9"),
    "mse-soft": Style("MSE, soft", "#CC79A7"),
    "bce": Style("BCE", "#009E73"),
    "pqm": Style("PQM", "#0072B2"),
    "pqm-zeta2": Style("PQM, ζ = 2", "#0072B2"),
    "pqm-zeta4": Style("PQM, ζ = 4", "#D55E00"),
    "theorem": Style("Eq. 9 (theorem)", "#56B4E9"),
    "first-error": Style("Eq. 12 (first error)", "#E69F00"),
}


def style(method: str) -> Style:
    """A method's style; a margin that has none of its own gets its loss's, a vote with a reward model is dashed."""
    base = method.removesuffix(SELF_CONSISTENCY)
    loss, _, zeta = base.partition("-zeta")
    found = STYLES.get(base) or STYLES.get(loss, Style(base, "#444444"))
    name = found.name if base in STYLES or not zeta else f"{found.name}, ζ = {zeta}"
    return Style(f"{name}, and self-consistency", found.colour, "--") if base != method else Style(name, found.colour, found.line)


def printed(method: str) -> str:
    """A method's name in print."""
    return style(method).name


def method_order(method: str) -> tuple[int, float, int]:
    """Sort key: the order of `STYLES`, then the margin; a vote with a reward model after the model alone."""
    base = method.removesuffix(SELF_CONSISTENCY)
    loss, _, zeta = base.partition("-zeta")
    names = list(STYLES)
    place = names.index(loss) if loss in names else len(names)
    return (place, float(zeta or 0), int(base != method))
