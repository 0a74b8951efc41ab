"""The tables of `docs/results.md`, from `results/demo`."""

from collections.abc import Callable, Iterable, Sequence

from findings.demo import BENCHMARKS, LIKELIHOOD, TRAINED, Demo, aggregation_means, by_method, one, with_interval

from pqm.paper.style import SELF_CONSISTENCY, in_print_order, printed

REFERENCES = ["self-consistency", "backbone-likelihood", "step-classifier", "bce"]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; columns after the first `texts` are aligned to the right."""
    marks = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows))


def short(method: str) -> str:
    """A method's name in the head of a column."""
    return printed(method).removeprefix("backbone's ")


def means(demo: Demo) -> str:
    main = demo.csv("tables/main")
    methods = in_print_order(method for method in set(main["method"]) - {"pass@1"} if not method.endswith(SELF_CONSISTENCY))
    return markdown(
        ["method", "n = 8", "n = 64"],
        [[printed(name), *(one(demo.mean(name, n)) for n in (8, 64))] for name in _last(methods, "pass@n")],
    )


def cells(demo: Demo) -> str:
    methods = ["pass@1", "self-consistency", LIKELIHOOD, "step-classifier", *TRAINED, "pass@n"]
    return markdown(
        ["policy, benchmark", *map(short, methods)],
        [
            [f"{cell[0]}, {cell[1]}, n = {n}", *(one(demo.accuracy(name, cell, n)) for name in methods)]
            for n in (64, 8)
            for cell in demo.cells
        ],
    )


def _last(names: Iterable[str], last: str) -> list[str]:
    return sorted(names, key=lambda name: name == last)


def differences(demo: Demo) -> str:
    def shown(method: str, reference: str) -> str:
        if method == reference:
            return ""
        test = demo.difference(method, reference)
        number = f"**{one(test['difference'])}**" if test["holds"] else one(test["difference"])
        return f"{number} [{one(test['low'])}, {one(test['high'])}]"

    head = ["method", *(f"minus {short(name)}" for name in REFERENCES)]
    return markdown(head, [[printed(name), *(shown(name, other) for other in REFERENCES)] for name in TRAINED])


def _ablation(demo: Demo, table: str, methods: Iterable[str]) -> str:
    head = ["method", *(f"{benchmark}, n = {n}" for benchmark in BENCHMARKS for n in (8, 64))]
    return markdown(
        head,
        [
            [
                printed(name),
                *(with_interval(demo.medium(table, benchmark, n, method=name)) for benchmark in BENCHMARKS for n in (8, 64)),
            ]
            for name in methods
        ],
    )


def losses(demo: Demo) -> str:
    return _ablation(demo, "loss_ablation", ["theorem-zeta4", "pqm-zeta4", "first-error-zeta4", LIKELIHOOD, "step-classifier"])


def margins(demo: Demo) -> str:
    return _ablation(demo, "margin_ablation", [*(f"pqm-zeta{zeta}" for zeta in (0, 2, 4, 8, 16)), LIKELIHOOD, "step-classifier"])


def backbones(demo: Demo) -> str:
    table = demo.csv("tables/backbones")
    order = in_print_order(table["method"])
    keys = sorted(
        set(table[table["policy"] == "medium"][["backbone", "method"]].itertuples(index=False, name=None)),
        key=lambda key: (["none", "error-detecting", "early", "language-model"].index(key[0]), order.index(key[1])),
    )
    rows = []
    for backbone, method in keys:
        sizes = {n: 1 if method == "pass@1" else n for n in (8, 64)}
        found = [
            demo.medium("backbones", benchmark, n, backbone=backbone, method=method)
            for benchmark in BENCHMARKS
            for n in sizes.values()
        ]
        rows.append(["" if backbone == "none" else backbone, printed(method), *map(with_interval, found)])
    head = ["backbone", "method", *(f"{benchmark}, n = {n}" for benchmark in BENCHMARKS for n in (8, 64))]
    return markdown(head, rows, 2)


def votes(demo: Demo) -> str:
    methods = ["self-consistency", LIKELIHOOD, *(name + vote for name in ("bce", "pqm-zeta4") for vote in ("", SELF_CONSISTENCY))]
    names = [
        f"{printed(name.removesuffix(SELF_CONSISTENCY))}{' as weights' if name.endswith(SELF_CONSISTENCY) else ''}"
        for name in methods
    ]
    return markdown(
        ["policy, benchmark", *names],
        [[", ".join(cell), *(one(demo.accuracy(name, cell)) for name in methods)] for cell in demo.cells],
    )


def aggregations(demo: Demo) -> str:
    wide = aggregation_means(demo)
    names = {"min": "lowest", "last": "last", "product": "product", "mean": "mean"}
    rows = []
    for key in [(benchmark, method) for benchmark in BENCHMARKS for method in ("orm", "bce", "pqm-zeta4")]:
        numbers = [one(wide.loc[key, name]) if wide.loc[key, name] == wide.loc[key, name] else "" for name in names]
        rows.append([key[0], printed(key[1]), *numbers, f"{wide.loc[key, 'share']:.0f} %"])
    return markdown(["benchmark", "method", *names.values(), "lowest is last"], rows, 2)


def first_errors(demo: Demo) -> str:
    found = {
        method: [demo.row("first_error", benchmark=benchmark, method=method) for benchmark in BENCHMARKS]
        for method in set(demo.csv("tables/first_error")["method"])
    }
    order = sorted(found, key=lambda method: -found[method][0]["f1"])
    return markdown(
        ["method", "F1, test", "F1, perturbed"],
        [[printed(name), *(with_interval(row, "f1") for row in found[name])] for name in order],
    )


def case_study(demo: Demo) -> str:
    table = demo.csv("tables/case_study")
    return markdown(
        ["step", "text", "truth", *(printed(name) for name in ("bce", "pqm-zeta4"))],
        [
            [str(row["step"]), row["text"], "right" if row["right"] else "wrong", f"{row['bce']:.3f}", f"{row['pqm-zeta4']:.3f}"]
            for row in table.to_dict("records")
        ],
        3,
    )


def q_values(demo: Demo) -> str:
    table = demo.csv("figures/q_values")
    rows = []
    for source, part in table.groupby("source", sort=False):
        right, wrong = (part[part["right"] == truth].sort_values("step") for truth in (True, False))
        first = part.iloc[0]
        rows.append(
            [
                printed(str(source)),
                *(", ".join(one(q) for q in side["q"]) for side in (right, wrong)),
                f"{first['violated']} of {first['inequalities']} ({first['violated'] / first['inequalities']:.0%})".replace(
                    "%", " %"
                ),
            ]
        )
    return markdown(["source", "Q of right steps", "Q of wrong steps", "inequalities reversed"], rows, 3)


def separation(demo: Demo) -> str:
    return _by_method(demo, "separation", "auc", "AUC", 3)


def calibration(demo: Demo) -> str:
    return _by_method(demo, "calibration", "calibration_error", "expected calibration error", 2)


def _by_method(demo: Demo, figure: str, column: str, title: str, digits: int) -> str:
    values = by_method(demo, figure, column)
    return markdown(["", *(printed(name) for name in TRAINED)], [[title, *(f"{values[name]:.{digits}f}" for name in TRAINED)]])


def assumption(demo: Demo) -> str:
    table = demo.csv("figures/assumption").pivot(index="right", columns="step", values="share")
    return markdown(
        ["steps of the prefix", *map(str, table.columns)],
        [
            [f"after a {name} prefix, %", *(one(100 * value) if value == value else "" for value in table.loc[truth])]
            for name, truth in (("right", True), ("wrong", False))
        ],
    )


def label_errors(demo: Demo) -> str:
    table = demo.csv("figures/label_audit").set_index("k").loc[[1, 2, 3, 4, 8, 16]]
    names = {"false_positive": "wrong steps labelled as right, %", "false_negative": "right steps labelled as wrong, %"}
    return markdown(
        ["completions k", *map(str, table.index)],
        [[text, *(one(100 * value) for value in table[name])] for name, text in names.items()],
    )


def cost(demo: Demo) -> str:
    columns = ["jobs", "cpu_seconds", "seconds", "longest_seconds", "peak_mb"]
    return markdown(
        ["stage", "jobs", "CPU s", "wall-clock s, all jobs", "longest job, s", "peak MB"],
        [[str(row["stage"]), *(f"{row[name]:.0f}" for name in columns)] for row in demo.csv("tables/cost").to_dict("records")],
    )


# By the names of their marks in docs/results.md.
TABLES: dict[str, Callable[[Demo], str]] = {
    "means": means,
    "cells": cells,
    "differences": differences,
    "backbones": backbones,
    "losses": losses,
    "margins": margins,
    "votes": votes,
    "aggregations": aggregations,
    "first errors": first_errors,
    "case study": case_study,
    "q-values": q_values,
    "separation": separation,
    "calibration": calibration,
    "assumption": assumption,
    "label errors": label_errors,
    "cost": cost,
}
