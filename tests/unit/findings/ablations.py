"""What `docs/results.md` says about backbones, losses, margins, votes and aggregations."""

import pandas as pd
from findings.demo import BENCHMARKS, LIKELIHOOD, Claim, Demo, Values, aggregation_means, between, one, overlap, says

from pqm.paper.style import SELF_CONSISTENCY


def spreads_of_backbones(demo: Demo) -> Values | None:
    found = {
        (benchmark, backbone, method): demo.medium("backbones", benchmark, backbone=backbone, method=method)["accuracy"]
        for benchmark in BENCHMARKS
        for backbone in ("error-detecting", "early", "language-model")
        for method in ("bce", "pqm-zeta4")
    }
    frame = pd.Series(found)
    of_backbones = frame.groupby(level=[0, 2]).agg(lambda values: values.max() - values.min()).min()
    of_losses = frame.groupby(level=[0, 1]).agg(lambda values: values.max() - values.min()).max()
    return says(f"{of_backbones:.0f}", f"{of_losses:.0f}", when=of_backbones > of_losses)


def curve(demo: Demo, backbone: str, method: str, benchmark: str = "test") -> pd.Series:
    """Accuracy in percent by n, of the medium policy."""
    table = demo.csv("tables/backbones")
    keys = {"policy": "medium", "benchmark": benchmark, "backbone": backbone, "method": method}
    for key, value in keys.items():
        table = table[table[key] == value]
    return 100 * table.set_index("n")["accuracy"].sort_index()


def plain_backbone_falls(demo: Demo) -> Values | None:
    found = [
        (curve(demo, "language-model", method, benchmark), curve(demo, "none", "pass@1", benchmark)[1])
        for method in ("bce", "pqm-zeta4")
        for benchmark in BENCHMARKS
    ]
    return says(when=all(line.loc[2:].is_monotonic_decreasing and (line.loc[8:] < single).all() for line, single in found))


def early_backbone(demo: Demo) -> Values | None:
    lines, single = [curve(demo, "early", method) for method in ("bce", "pqm-zeta4")], curve(demo, "none", "pass@1")[1]
    shape = all(line.idxmax() == 4 and line[8] > single > line[64] for line in lines)
    return says(*(one(line[4]) for line in lines), when=shape)


def main_backbone(demo: Demo) -> Values | None:
    lines = [curve(demo, "error-detecting", method) for method in ("bce", "pqm-zeta4")]
    likelihood = curve(demo, "error-detecting", LIKELIHOOD)
    return says(*(one(line[64]) for line in (*lines, likelihood)), when=likelihood.is_monotonic_increasing)


def pqm_and_bce_from_weaker_backbones(demo: Demo) -> Values | None:
    pairs = [
        [demo.medium("backbones", benchmark, backbone=backbone, method=method) for method in ("bce", "pqm-zeta4")]
        for benchmark in BENCHMARKS
        for backbone in ("early", "language-model")
    ]
    gains = [pqm["accuracy"] - bce["accuracy"] for bce, pqm in pairs]
    return says(*between(gains, 1))


def losses_agree(demo: Demo) -> Values | None:
    methods = ("theorem-zeta4", "pqm-zeta4", "first-error-zeta4")
    found = [[demo.medium("loss_ablation", benchmark, method=method) for method in methods] for benchmark in BENCHMARKS]
    likelihood = [demo.medium("loss_ablation", benchmark, method=LIKELIHOOD)["accuracy"] for benchmark in BENCHMARKS]
    values = [[row["accuracy"] for row in rows] for rows in found]
    below = max(values[0]) < likelihood[0]
    return says(one(max(max(part) - min(part) for part in values)), when=below and all(map(overlap, found)))


def margins_agree(demo: Demo) -> Values | None:
    rows = {
        benchmark: {zeta: demo.medium("margin_ablation", benchmark, method=f"pqm-zeta{zeta}") for zeta in (0, 2, 4, 8, 16)}
        for benchmark in BENCHMARKS
    }
    values = {benchmark: {zeta: row["accuracy"] for zeta, row in part.items()} for benchmark, part in rows.items()}
    numbers = []
    for part in values.values():
        for zeta in (max(part, key=part.__getitem__), min(part, key=part.__getitem__)):
            numbers += [str(zeta), one(part[zeta])]
    return says(*numbers, when=all(overlap(part.values()) for part in rows.values()))


def margins_saturate(demo: Demo) -> Values | None:
    table = demo.csv("tables/margin_ablation").set_index(["method", "benchmark", "n"])["accuracy"]
    farthest = 100 * float((table["pqm-zeta8"] - table["pqm-zeta16"]).abs().max())
    return says(one(farthest), when=farthest < 1.0)


def votes_and_models(demo: Demo) -> Values | None:
    models = [(name, cell) for name in ("bce", "pqm-zeta4") for cell in demo.cells]
    above_votes = all(
        demo.accuracy(name + SELF_CONSISTENCY, cell) > demo.accuracy("self-consistency", cell) for name, cell in models
    )
    above_model = sum(demo.accuracy(name + SELF_CONSISTENCY, cell) > demo.accuracy(name, cell) for name, cell in models)
    return says(str(above_model), str(len(models)), when=above_votes)


def weak_votes(demo: Demo) -> Values | None:
    alone, voted = (demo.accuracy(name, ("weak", "test")) for name in ("pqm-zeta4", f"pqm-zeta4{SELF_CONSISTENCY}"))
    usual = demo.accuracy("self-consistency", ("weak", "test"))
    return says(one(alone), one(voted), when=usual < 50)


def votes_by_pqm(demo: Demo) -> Values | None:
    pqm, bce = ([demo.accuracy(name + SELF_CONSISTENCY, cell) for cell in demo.cells] for name in ("pqm-zeta4", "bce"))
    gains = [ours - other for ours, other in zip(pqm, bce)]
    return says(str(sum(gain > 0 for gain in gains)), str(len(gains)), one(max(gains)))


def aggregations_agree(demo: Demo) -> Values | None:
    table = aggregation_means(demo)
    values = table.drop(columns="share")
    shares = table["share"]
    orm = shares.index.get_level_values("method") == "orm"
    spread = (values.max(axis=1) - values.min(axis=1)).max()
    return says(one(spread), *between(shares[~orm]), *between(shares[orm]), when=spread < 4)


IN_RESULTS: list[Claim] = [
    (
        "matters more than the loss: at n = 64 the backbones differ by {} points or more, the losses by at most {}.",
        spreads_of_backbones,
    ),
    ("make best-of-n fall as n grows, whatever the loss. From n = 8 on they are below pass@1.", plain_backbone_falls),
    ("early backbone are best at n = 4 (BCE {} %, PQM {} %), are still above pass@1 at n = 8, and end below it.", early_backbone),
    (
        "- On `test`, BCE from the error-detecting backbone ends at {} % and PQM at {} %. The likelihood of the same backbone rises"
        " to {} %.",
        main_backbone,
    ),
    (
        "- From the two weaker backbones, PQM minus BCE at n = 64 is between {} and {} points. This is one training seed.",
        pqm_and_bce_from_weaker_backbones,
    ),
    ("At n = 64 the three differ by at most {} points, and their intervals overlap widely.", losses_agree),
    (
        "No margin is measurably better than another: all intervals overlap, and each number is of one training. On `test`"
        " accuracy at n = 64 is highest with margin {} ({} %) and lowest with margin {} ({} %); on `perturbed` it is"
        " highest with margin {} ({} %) and lowest with margin {} ({} %).",
        margins_agree,
    ),
    ("Margins 8 and 16 have nearly the same accuracy, within {} points at every n.", margins_saturate),
    (
        "- Weighted votes are above self-consistency in every cell, for PQM and for BCE. They are above the reward "
        "model alone in {}"
        " of {} comparisons.",
        votes_and_models,
    ),
    ("usually wrong, PQM alone reaches {} % and the weighted vote {} %.", weak_votes),
    ("- As weights, PQM's scores are better than BCE's in {} of {} cells, by up to {} points.", votes_by_pqm),
    (
        "for every loss and benchmark the four are at most {} points apart. The lowest step is the last one in {} to {} % of the"
        " solutions (for ORM, {} to {} %)",
        aggregations_agree,
    ),
]
