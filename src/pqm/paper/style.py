"""Names, order and colours of methods: the same everywhere, and safe for colour-blind readers (Okabe and Ito)."""

METHODS: dict[str, tuple[str, str, str]] = {
    # method: (name in print, colour, line style)
    "pass@1": ("pass@1", "#999999", ":"),
    "random": ("random choice", "#999999", ":"),
    "pass@n": ("pass@n", "#555555", ":"),
    "self-consistency": ("self-consistency", "#000000", "--"),
    "policy-likelihood": ("likelihood, policy", "#bbbbbb", "-."),
    "backbone-likelihood": ("likelihood, backbone", "#777777", "-."),
    "proofreader": ("backbone's own mark", "#555555", (0, (5, 1))),  # type: ignore[dict-item]
    "orm": ("ORM", "#E69F00", "-"),
    "mse-hard": ("MSE, hard", "#56B4E9", "-"),
    "mse-soft": ("MSE, soft", "#CC79A7", "-"),
    "bce": ("BCE", "#009E73", "-"),
    "pqm-zeta2": ("PQM, ζ = 2", "#0072B2", "-"),
    "pqm-zeta4": ("PQM, ζ = 4", "#D55E00", "-"),
    "pqm-zeta4+self-consistency": ("PQM, ζ = 4, and self-consistency", "#D55E00", "--"),
}


def method_order(method: str) -> tuple[int, str]:
    """Sort key: the order of `METHODS`, unknown methods last by name."""
    names = list(METHODS)
    return (names.index(method) if method in names else len(names), method)


def printed(method: str) -> str:
    """A method's name in print."""
    return METHODS[method][0] if method in METHODS else method
