"""Stage `evaluate`: best-of-n metrics of reward models, and of references that need no reward model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pqm.estimation.estimators import AGGREGATIONS, pass_at_n, vote
from pqm.estimation.judge import expect_samples, join, judge, random_draws
from pqm.evaluate.answers import read_grades
from pqm.io import formats
from pqm.losses.common.loss import find
from pqm.progress import progress, say
from pqm.study.evaluation import EvaluationConfig
from pqm.study.layout import Layout, reference_scorer, scorer
from pqm.study.runs import RunConfig

NO_SEED = -1
NOTHING = "none"


def run_metrics(name: str, run: RunConfig, config: EvaluationConfig, seeds: Sequence[int], layout: Layout) -> pd.DataFrame:
    """The metrics of one run's seeds over every policy and benchmark."""
    # The first one is the method's default. Only the last score of an outcome reward model is meaningful.
    aggregations = ["last"] if find(run.loss).outcome else ["min", *(one for one in AGGREGATIONS if one != "min")]
    rows = []
    policies = run.policies or config.policies
    methods = {"best": name, "vote": f"{name}+self-consistency"}
    cells = [(policy, benchmark) for policy in policies for benchmark in config.benchmarks]
    for policy, benchmark in progress(cells, f"metrics of {name}", "cell"):
        graded = read_grades(Path(layout.grades(policy, benchmark)))
        for seed in seeds:
            source = Path(layout.scores(scorer(name, seed), policy, benchmark))
            joined = join(graded, formats.read(source, formats.SCORES), source)
            key = {"policy": policy, "benchmark": benchmark, "backbone": run.backbone, "seed": seed}
            for row in judge(joined, aggregations, config.n, config.vote_subsets, config.seed):
                rows.append(key | row | {"method": methods[row["kind"]]})
    return pd.DataFrame(rows)


def reference_metrics(config: EvaluationConfig, layout: Layout) -> pd.DataFrame:
    """Metrics that need no reward model: chance, pass@n, self-consistency, likelihoods and the backbone's step classifier."""
    rows: list[dict[str, Any]] = []
    for policy in config.policies:
        for benchmark in config.benchmarks:
            graded = read_grades(Path(layout.grades(policy, benchmark)))
            cell = {"policy": policy, "benchmark": benchmark, "seed": NO_SEED}
            for method, backbone, joined in _reference_scores(config, graded, policy, benchmark, layout):
                best = judge(joined, ["min" if method == "step-classifier" else "last"], config.n, 1, config.seed)
                rows += [cell | row | {"method": method, "backbone": backbone} for row in best if row["kind"] == "best"]
            rows += [cell | row | {"backbone": NOTHING, "aggregation": NOTHING} for row in _counted(graded, config)]
    return pd.DataFrame(rows)


def _reference_scores(
    config: EvaluationConfig, graded: pd.DataFrame, policy: str, benchmark: str, layout: Layout
) -> list[tuple[str, str, pd.DataFrame]]:
    """Method, backbone and graded samples with scores of each reference that scores solutions."""
    path = Path(layout.rollouts(policy, benchmark))
    own = formats.read(path, formats.ROLLOUTS)
    found = []
    if own["log_likelihood"].isna().any():
        say(f"{policy}, {benchmark}: samples without log_likelihood; the reference policy-likelihood is skipped")
    else:
        own["step_scores"] = own["log_likelihood"].map(lambda value: [value])
        found.append(("policy-likelihood", NOTHING, join(graded, own, path)))
    for kind in config.references:
        method = "backbone-likelihood" if kind == "likelihood" else kind
        path = Path(layout.scores(reference_scorer(kind), policy, benchmark))
        found.append((method, config.reference_backbone, join(graded, formats.read(path, formats.SCORES), path)))
    return found


def _counted(graded: pd.DataFrame, config: EvaluationConfig) -> list[dict[str, Any]]:
    """Chance, pass@n and self-consistency, per question."""
    rows = []
    for question_id, group in graded.groupby("question_id", sort=True):
        expect_samples(group, config.n)
        correct = group["correct"].to_numpy()
        key = {"question_id": question_id, "cluster": group["cluster"].iloc[0]}
        share = float(correct.mean())
        votes = vote(
            list(group["answer"]),
            correct,
            np.ones(len(group)),
            config.n,
            config.vote_subsets,
            random_draws(config.seed, str(question_id)),
        )
        rows.append(key | {"method": "pass@1", "n": 1, "accuracy": share})
        for n, voted in zip(config.n, votes):
            rows.append(key | {"method": "random", "n": n, "accuracy": share})
            rows.append(key | {"method": "pass@n", "n": n, "accuracy": pass_at_n(correct, n)})
            rows.append(key | {"method": "self-consistency", "n": n, "accuracy": voted})
    return rows
