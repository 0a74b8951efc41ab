"""What `docs/results.md` says about steps, labels, theory and cost."""

import re

import pandas as pd
from findings.demo import BENCHMARKS, PROCESS, TRAINED, Claim, Demo, Values, between, by_method, one, overlap, says


def first_errors_in_order(demo: Demo) -> Values | None:
    true, apart = [], 0.0
    for benchmark in BENCHMARKS:
        rows = {name: demo.row("first_error", benchmark=benchmark, method=name) for name in (*TRAINED, "step-classifier")}
        order = sorted(rows, key=lambda name: -rows[name]["f1"])
        true += [order[-1] == "orm", order[0] == "step-classifier", overlap(rows[name] for name in PROCESS)]
        values = [rows[name]["f1"] for name in PROCESS]
        apart = max(apart, max(values) - min(values))
    return says(one(apart), when=all(true))


def process_models_find_errors_alike(demo: Demo) -> Values | None:
    return says(when=first_errors_in_order(demo) is not None)


def first_wrong_step(demo: Demo) -> Values | None:
    table = demo.csv("tables/case_study")
    wrong = int((~table["right"]).idxmax())
    numbers = [f"{table[name][place]:.2f}" for name in ("bce", "pqm-zeta4") for place in (wrong - 1, wrong)]
    falls = all(table[name][wrong:].max() < table[name][wrong - 1] for name in ("bce", "pqm-zeta4"))
    left, right = re.search(r"(\d+ \S \d+) = (\d+)", table["text"][wrong]).groups()
    return says(str(table["step"][wrong]), left, right, *numbers, when=falls)


def framework(demo: Demo) -> Values | None:
    table = demo.csv("figures/framework")
    right, wrong = (table[table["right"] == truth] for truth in (True, False))
    shape = wrong["q"].max() < right["q"].min() - 2 and right["q"].argmax() == 0 and not wrong["hits"].any()
    return says(*(", ".join(f"{q:.2f}" for q in part["q"]) for part in (right, wrong)), when=bool(shape))


def q_by_source(demo: Demo) -> dict[str, tuple[pd.Series, pd.Series, float]]:
    """For Monte Carlo and each model: Q of right and of wrong steps by step, and the percentage of reversed inequalities."""
    found = {}
    for source, part in demo.csv("figures/q_values").groupby("source"):
        right, wrong = (part[part["right"] == truth].set_index("step")["q"].sort_index() for truth in (True, False))
        found[str(source)] = right, wrong, 100 * part["violated"].iloc[0] / part["inequalities"].iloc[0]
    return found


def right_above_wrong(demo: Demo) -> Values | None:
    return says(when=all((right - wrong).dropna().min() > 0 for right, wrong, _ in q_by_source(demo).values()))


def scores_do_not_rise(demo: Demo) -> Values | None:
    of_models = [(right, wrong) for name, (right, wrong, _) in q_by_source(demo).items() if name != "Monte Carlo"]
    after = max((right.loc[3:] - right[3]).abs().max() for right, _ in of_models)
    fall = all(wrong.loc[:4].is_monotonic_decreasing for _, wrong in of_models)
    return says(one(after), when=fall and after < 0.3 and all(right[3] < right[1] for right, _ in of_models))


def right_steps_do_not_rise(demo: Demo) -> Values | None:
    true = right_above_wrong(demo) is not None and scores_do_not_rise(demo) is not None
    return says(when=true)


def reversed_by_models(demo: Demo) -> Values | None:
    found = q_by_source(demo)
    return says(*(f"{found[name][2]:.0f}" for name in ("pqm-zeta4", "bce")))


def separation_in_order(demo: Demo) -> Values | None:
    auc = by_method(demo, "separation", "auc")
    return says(when=min(auc, key=auc.__getitem__) == "orm" and auc["orm"] > 0.8)


def calibration_in_order(demo: Demo) -> Values | None:
    errors = by_method(demo, "calibration", "calibration_error")
    return says(when=sorted(errors, key=errors.__getitem__)[:3] == ["bce", "mse-hard", "mse-soft"])


def overlap_of_intervals(demo: Demo) -> Values | None:
    right, wrong = (demo.csv("figures/assumption").query(f"right == {truth}").set_index("step") for truth in (True, False))
    overlaps = right["low"] < wrong["high"]
    return says(str(right["prefixes"][6]), when=list(overlaps[overlaps].index) == [6] and right.index.max() == 6)


def shares_of_completions(demo: Demo) -> Values | None:
    table = demo.csv("figures/assumption").assign(share=lambda rows: 100 * rows["share"])
    right, wrong = (table[table["right"] == truth]["share"] for truth in (True, False))
    return says(*between(right), *between(wrong), when=right.min() > wrong.max())


def label_errors_by_completions(demo: Demo) -> Values | None:
    table = 100 * demo.csv("figures/label_audit").set_index("k")
    negative, positive = table["false_negative"], table["false_positive"]
    few = int((negative - negative[16] < 1).idxmax())
    shape = few <= 4 and positive.is_monotonic_increasing and negative.is_monotonic_decreasing
    first, last = (f"{value:.0f}" for value in (negative[1], negative[few]))
    return says(first, last, str(few), *(f"{value:.0f}" for value in (positive[1], positive[16])), when=bool(shape))


def exact_processes(demo: Demo) -> Values | None:
    table = demo.csv("figures/theory")
    grid, roads = table[table["panel"] == "grid"], table[table["panel"] == "roads"]
    half = (grid["value"] == 0.5 * (grid["y"] > grid["x"])).all()
    return says(f"{100 * roads['value'].iloc[0]:.0f}", when=bool(half))


def seconds(demo: Demo) -> Values | None:
    table = demo.csv("figures/compute").set_index(["method", "policy", "benchmark", "n"])
    models = [name for name in table.index.unique("method") if name != "self-consistency"]
    pairs = [(table.loc[name, *cell, 8], table.loc["self-consistency", *cell, 64]) for name in models for cell in demo.cells]
    sampling, scoring = 1000 * table["sampling"], 1000 * table["scoring"]
    return says(
        *between((100 * model["seconds"] / votes["seconds"] for model, votes in pairs), 1),
        *between(sampling),
        one(scoring.iloc[0]),
        *between(100 * scoring / sampling),
        when=all(model["accuracy"] > votes["accuracy"] for model, votes in pairs),
    )


def seconds_of_jobs(demo: Demo) -> Values | None:
    train = demo.cost("train")
    return says(f"{demo.cost('policies')['longest_seconds']:.0f}", f"{train['seconds'] / train['jobs']:.0f}")


def graders_agree(demo: Demo) -> Values | None:
    table = demo.csv("tables/grader_disagreement")
    return says(f"{table['samples'].sum():,}", when=not table.filter(like="only_").to_numpy().any())


IN_RESULTS: list[Claim] = [
    (
        "- **No process reward model is measurably better than another at finding the first wrong step**",
        process_models_find_errors_alike,
    ),
    (
        "right steps score above wrong ones. But by the theorem the scores of right steps rise from step to step; here they do not",
        right_steps_do_not_rise,
    ),
    (
        "The backbone's step classifier is best. The process reward models lie within {} points of each other, and their intervals"
        " overlap. ORM, which is never trained on inner steps, comes last.",
        first_errors_in_order,
    ),
    (
        "Step {} is the first wrong one: {} is not {}. BCE drops from {} to {}, PQM from {} to {}. Both stay low afterwards.",
        first_wrong_step,
    ),
    (
        "Q of the right steps is {}. The wrong steps ({}) lie far below, and no completion of any of them is right. By the theorem,"
        " Q would rise along the right steps; here the first is the highest.",
        framework,
    ),
    ("- At every step, right steps lie above wrong ones, for Monte Carlo and for both models.", right_above_wrong),
    ("Even Monte Carlo values reverse {} % of the inequalities", lambda demo: says(f"{q_by_source(demo)['Monte Carlo'][2]:.0f}")),
    (
        "- The models' scores of wrong steps fall over the first four steps. Those of right steps do not rise: from step 3 on they"
        " stay within {} of their value at step 3.",
        scores_do_not_rise,
    ),
    ("reverses {} % of the inequalities; BCE is not and reverses {} %.", reversed_by_models),
    ("Every loss separates most right steps from most wrong ones. ORM is last", separation_in_order),
    ("BCE is calibrated best, then MSE on hard and on soft labels. ORM and PQM are further off.", calibration_in_order),
    (
        "After a right prefix {} to {} % of the completions are right, after a wrong one {} to {} %, at every length.",
        shares_of_completions,
    ),
    (
        "Up to five steps the intervals do not overlap. At six they do, with only {} right prefixes.",
        overlap_of_intervals,
    ),
    (
        "Right steps labelled as wrong fall from {} % at k = 1 to {} % at k = {}, and by less than a point after that. Wrong steps"
        " labelled as right grow from {} % at k = 1 to {} % at k = 16,",
        label_errors_by_completions,
    ),
    ("but {} % of the inequalities are reversed, because a right step can lead onto a hard road.", exact_processes),
    (
        "In every cell, a reward model at n = 8 is above self-consistency at n = 64, and it needs {} to {} % of the "
        "time. Sampling a"
        " solution takes {} to {} ms and scoring it {} ms, so scoring adds {} to {} % to the cost.",
        seconds,
    ),
    ("The longest job is the pretraining of the error-detecting backbone, {} s.", lambda demo: says(seconds_of_jobs(demo)[0])),
    ("A training takes {} s on average", lambda demo: says(seconds_of_jobs(demo)[1])),
    ("They agree on all {} samples", graders_agree),
]
