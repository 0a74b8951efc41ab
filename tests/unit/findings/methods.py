"""What the README says about the demo, and what `docs/results.md` says about its main results."""

import re
from pathlib import Path

import pandas as pd
from findings.ablations import spreads_of_backbones
from findings.demo import (
    BENCHMARKS,
    LIKELIHOOD,
    PROCESS,
    TRAINED,
    Claim,
    Demo,
    Values,
    between,
    one,
    says,
)

from pqm.paper.style import printed

ROOT = Path(__file__).parents[3]


def tests_over_all(demo: Demo) -> pd.DataFrame:
    table = demo.csv("tables/differences")
    return table[table["family"] == "all"]


def better_than_bce(demo: Demo) -> bool:
    tests = tests_over_all(demo)
    return bool((tests["holds"] & (tests["reference"] == "bce") & (tests["difference"] > 0)).any())


def better_than_the_backbone(demo: Demo) -> bool:
    tests = tests_over_all(demo)
    of_backbone = tests["reference"].isin([LIKELIHOOD, "step-classifier"])
    return bool((tests["holds"] & of_backbone & (tests["difference"] > 0)).any())


def above_self_consistency(demo: Demo) -> Values | None:
    tests = [demo.difference(method, "self-consistency") for method in TRAINED]
    return says(*between(test["difference"] for test in tests), when=all(test["holds"] for test in tests))


def summary_of_backbone(demo: Demo) -> Values | None:
    best = max(TRAINED, key=demo.mean)
    numbers = [one(demo.mean(name)) for name in (LIKELIHOOD, "step-classifier", best)]
    return says(*numbers[:2], printed(best), numbers[2], when=not better_than_the_backbone(demo))


def plain_backbone_is_worse(demo: Demo) -> Values | None:
    return says(
        when=all(
            demo.medium("backbones", benchmark, backbone="language-model", method=method)["accuracy"]
            < demo.medium("backbones", benchmark, n=1, method="pass@1")["accuracy"]
            for benchmark in BENCHMARKS
            for method in ("bce", "pqm-zeta4")
        )
    )


def one_seed_in_ablations(demo: Demo) -> Values | None:
    tables = [demo.csv(f"tables/{name}") for name in ("backbones", "loss_ablation", "margin_ablation")]
    main = demo.csv("tables/main")
    trained = main[main["method"].isin(TRAINED)]
    return says(when=all(set(table["seeds"]) == {1} for table in tables) and set(trained["seeds"]) == {3})


def above_single_samples(demo: Demo) -> Values | None:
    pairs = [(method, cell) for method in TRAINED for cell in demo.cells]
    above = sum(demo.accuracy(method, cell) > demo.accuracy("self-consistency", cell) for method, cell in pairs)
    single = all(demo.accuracy(method, cell, n) > demo.accuracy("pass@1", cell) for method, cell in pairs for n in (8, 64))
    return says(str(above), str(len(pairs)), when=single)


def process_models_agree(demo: Demo) -> Values | None:
    values = [demo.mean(method) for method in PROCESS]
    best = [max(PROCESS, key=lambda method: demo.accuracy(method, cell)) for cell in demo.cells]
    most = max(PROCESS, key=best.count)
    return says(*between(values, 1), printed(most), str(best.count(most)), str(len(best)))


def likelihood_is_best(demo: Demo) -> Values | None:
    found = readme_likelihood(demo)
    return found and says(found[0], found[3], found[4], when=demo.mean(LIKELIHOOD) > max(map(demo.mean, PROCESS)))


def classifier_is_as_good(demo: Demo) -> Values | None:
    value, others = demo.mean("step-classifier"), [demo.mean(method) for method in PROCESS]
    return says(one(value), when=min(others) - 0.5 <= value <= max(others) + 0.5)


def falling_curves(demo: Demo) -> Values | None:
    falls = {
        (method, cell): demo.accuracy(method, cell, 8) - demo.accuracy(method, cell) for method in TRAINED for cell in demo.cells
    }
    falling = {key: fall for key, fall in falls.items() if fall > 0}
    of_orm = sum(method == "orm" for method, _ in falling)
    return (falling and says(str(len(falls)), str(len(falling)), one(max(falling.values())), str(of_orm))) or None


def weak_self_consistency(demo: Demo) -> Values | None:
    gains = [
        demo.accuracy("self-consistency", cell) - demo.accuracy("pass@1", cell) for cell in (("medium", "test"), ("weak", "test"))
    ]
    return says(*map(one, gains), when=gains[1] < gains[0] / 2 and demo.accuracy("self-consistency", ("weak", "test")) < 50)


def widths(demo: Demo) -> Values | None:
    main = demo.csv("tables/main")
    rows = main[main["method"].isin(TRAINED) & main["n"].isin([8, 64])]
    return says(*between(50 * (rows["high"] - rows["low"])))


def tests_that_hold(demo: Demo) -> Values | None:
    tests = tests_over_all(demo)
    below = int((tests["holds"] & (tests["reference"] == LIKELIHOOD) & (tests["difference"] < 0)).sum())
    true = above_self_consistency(demo) is not None and tests["holds"].sum() == len(TRAINED) + below
    return says(str(tests["holds"].sum()), str(len(tests)), str(below), when=true)


def below_the_likelihood(demo: Demo) -> Values | None:
    tests = [demo.difference(method, LIKELIHOOD) for method in PROCESS]
    numbers = between((-test["difference"] for test in tests), 1)
    return says(*numbers, when=all(demo.difference(method, LIKELIHOOD)["difference"] < 0 for method in TRAINED))


def no_loss_differs_from_bce(demo: Demo) -> Values | None:
    tests = tests_over_all(demo)
    of_bce = tests[tests["reference"] == "bce"]
    largest = of_bce.loc[of_bce["difference"].abs().idxmax()]
    numbers = (one(100 * largest[key]) for key in ("difference", "low", "high"))
    return says(printed(largest["method"]), *numbers, when=not of_bce["holds"].any())


def no_model_differs_from_the_classifier(demo: Demo) -> Values | None:
    return says(when=not any(demo.difference(method, "step-classifier")["holds"] for method in PROCESS))


def tests_in_cells(demo: Demo) -> Values | None:
    table = demo.csv("tables/differences")
    tests = table[table["family"] == "cells"]
    holds = tests[tests["holds"]]
    numbers = len(holds), len(tests), (holds["policy"] == "weak").sum()
    above = set(holds["reference"]) == {"self-consistency"} and (holds["difference"] > 0).all()
    return says(*map(str, numbers), when=bool(above))


def published_gain(demo: Demo) -> Values | None:
    reported = pd.read_csv(ROOT / "config/reported.csv").set_index("method")["accuracy"]
    pqm, bce = 100 * reported["pqm-zeta4"], 100 * reported["bce"]
    return says(one(pqm), one(bce), one(pqm - bce), when=0 < pqm - bce - float(detected(demo)[0]) < 4)


def readme_self_consistency(demo: Demo) -> Values | None:
    found = [demo.difference(method, "self-consistency") for method in ("pqm-zeta4", "bce")]
    numbers = [one(row[key]) for row in found for key in ("difference", "low", "high")]
    return says(*numbers, when=all(row["holds"] and row["difference"] > 0 for row in found))


def readme_likelihood(demo: Demo) -> Values | None:
    best = max(TRAINED, key=demo.mean)
    ahead = sum(demo.accuracy(LIKELIHOOD, cell) > max(demo.accuracy(name, cell) for name in TRAINED) for cell in demo.cells)
    numbers = one(demo.mean(LIKELIHOOD)), one(demo.mean(best)), printed(best), str(ahead), str(len(demo.cells))
    return says(*numbers, when=demo.mean(LIKELIHOOD) > demo.mean(best))


def readme_difference_from_likelihood(demo: Demo) -> Values | None:
    test = demo.difference("pqm-zeta4", LIKELIHOOD)
    numbers = one(test["difference"]), one(test["low"]), one(test["high"])
    return says(*numbers, when=test["difference"] < 0 and not test["holds"])


def pqm_above_bce(demo: Demo) -> Values | None:
    test = demo.difference("pqm-zeta4", "bce")
    return says(*(one(test[key]) for key in ("difference", "low", "high")), when=test["difference"] > 0 and not test["holds"])


def detected(demo: Demo) -> list[str]:
    """The difference that the tests detect: over all cells, and in a single one."""
    return re.findall(r"difference of (\d+) points is detected", (demo.folder / "tables/differences.md").read_text())


def backbones_differ_more(demo: Demo) -> Values | None:
    return says(when=spreads_of_backbones(demo) is not None)


def readme_backbones(demo: Demo) -> Values | None:
    rows = [
        demo.medium("backbones", "test", backbone=backbone, method=method)
        for backbone in ("error-detecting", "language-model")
        for method in ("bce", "pqm-zeta4")
    ]
    single = demo.medium("backbones", "test", n=1, method="pass@1")
    numbers = [one(row[key]) for row in (*rows, single) for key in ("accuracy", "low", "high")]
    return says(*numbers, when=max(row["accuracy"] for row in rows[2:]) < single["accuracy"])


IN_README: list[Claim] = [
    ("no reward model measurably beats its backbone.**", lambda demo: says(when=not better_than_the_backbone(demo))),
    (
        "PQM with ζ = 4 is {} points above self-consistency (95 % interval {} to {}), and BCE is {} points above it ({} to {}).",
        readme_self_consistency,
    ),
    (
        "needs no reward training, reaches {} %; the best trained method reaches {} % ({}) and is behind in {} of {} cells.",
        readme_likelihood,
    ),
    ("PQM with ζ = 4 differs from it by {} points ({} to {}), which is not significant", readme_difference_from_likelihood),
    ("**No loss measurably beats BCE.**", lambda demo: says(when=not better_than_bce(demo))),
    ("PQM with ζ = 4 is {} points above BCE ({} to {}), which is no evidence of a difference.", pqm_above_bce),
    ("A true difference of {} points would be detected with a probability of 80 %.", lambda demo: says(detected(demo)[0])),
    ("**The backbone matters more than the loss.** For the medium policy on `test`", backbones_differ_more),
    (
        "reach {} % with BCE ({} to {}) and {} % with PQM ({} to {}). From a plain language model they reach only {} % ({} to {})"
        " and {} % ({} to {}). A single sample without any reward model is right in {} % ({} to {}).",
        readme_backbones,
    ),
]

IN_RESULTS: list[Claim] = [
    (
        "- **Reward models beat self-consistency**, by {} to {} points at n = 64. This holds for every loss",
        above_self_consistency,
    ),
    (
        "- **No reward model measurably beats its backbone without reward training.** The sample that the backbone "
        "finds likeliest"
        " is right in {} % at n = 64, the choice of the backbone's step classifier in {} %, and that of the best trained method,"
        " {}, in {} %",
        summary_of_backbone,
    ),
    ("- **No loss is measurably better than BCE.**", lambda demo: says(when=not better_than_bce(demo))),
    ("PQM with margin 4 is {} points above it, with an interval of {} to {} ([differences]", pqm_above_bce),
    ("- **The backbone matters more than the loss.** From a plain language model", backbones_differ_more),
    ("From a plain language model, every reward model makes best-of-n *worse*", plain_backbone_is_worse),
    ("Main results have three training seeds.", one_seed_in_ablations),
    ("The tables of backbones, losses and margins use seed 0 of every run", one_seed_in_ablations),
    (
        "- At n = 8 and at n = 64, every trained method is above pass@1 in every cell. At n = 64, it is above self-consistency in"
        " {} of {} comparisons.",
        above_single_samples,
    ),
    (
        "- The process reward models reach {} to {} %. {} is the best of them in {} of {} cells.",
        process_models_agree,
    ),
    ("is better than all of them: {} %. In {} of {} cells it is above the best trained method of that cell.", likelihood_is_best),
    ("- The backbone's step classifier is as good as the process reward models: {} %.", classifier_is_as_good),
    (
        "- Of the {} curves of trained methods (method and cell), {} fall from n = 8 to n = 64, by at most {} points. "
        "{} of these are of ORM.",
        falling_curves,
    ),
    (
        "It gains {} points for the medium policy on `test`, but only {} for the weak policy, whose most frequent answer is "
        "usually wrong.",
        weak_self_consistency,
    ),
    ("intervals, which are ±{} to ±{} points:", widths),
    (
        "- Over all cells together, {} of {} differences hold: each trained method is above self-consistency, and {} methods are"
        " below the backbone's likelihood.",
        tests_that_hold,
    ),
    (
        "- No trained method is above the backbone's likelihood. The process reward models are {} to {} points below it.",
        below_the_likelihood,
    ),
    (
        "- No loss differs significantly from BCE. The largest difference is that of {}: {} points ({} to {}, without correction).",
        no_loss_differs_from_bce,
    ),
    ("- No process reward model differs significantly from the step classifier.", no_model_differs_from_the_classifier),
    (
        "- Cell by cell, {} of {} differences hold. All of them are above self-consistency, and {} are for the weak policy.",
        tests_in_cells,
    ),
    (
        "The tests detect a true difference of {} points over all cells, or of {} points in a single cell,",
        lambda demo: says(*detected(demo)),
    ),
    (
        "is a little larger: PQM has {} % and BCE {} %, {} points, as later works quote the paper.",
        published_gain,
    ),
]
