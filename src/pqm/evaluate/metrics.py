"""Stage `evaluate`: best-of-n metrics of reward models, and of references that need no reward model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pqm.estimation.estimators import AGGREGATIONS, Floats, pass_at_n
from pqm.estimation.judge import Questions, aggregated, join, judge
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
    methods = {"best": name, "vote": f"{name}+self-consistency"}
    cells = [(policy, benchmark) for policy in run.policies or config.policies for benchmark in config.benchmarks]
    parts = []
    for policy, benchmark in progress(cells, f"metrics of {name}", "cell"):
        graded = read_grades(Path(layout.grades(policy, benchmark)))
        sources = [Path(layout.scores(scorer(name, seed), policy, benchmark)) for seed in seeds]
        scores = np.stack([aggregated(_step_scores(graded, source), aggregations) for source in sources])
        found = judge(Questions.of(graded, config.n), scores, aggregations, config.n, config.vote_subsets, config.seed)
        cell = {"policy": policy, "benchmark": benchmark, "backbone": run.backbone}
        parts += [part.assign(**cell, seed=seed, method=part["kind"].map(methods)) for seed, part in zip(seeds, found)]
    return pd.concat(parts, ignore_index=True)


def _step_scores(graded: pd.DataFrame, source: Path) -> list[Floats]:
    return join(graded, formats.read(source, formats.SCORES), source)["step_scores"].tolist()


def reference_metrics(config: EvaluationConfig, layout: Layout) -> pd.DataFrame:
    """Metrics that need no reward model: chance, pass@n, self-consistency, likelihoods and the backbone's step classifier."""
    parts = []
    for policy in config.policies:
        for benchmark in config.benchmarks:
            graded = read_grades(Path(layout.grades(policy, benchmark)))
            questions = Questions.of(graded, config.n)
            found = [
                questions.table(questions.best(scores, config.n), _columns(config, method, backbone, aggregation))
                for method, backbone, aggregation, scores in _reference_scores(config, graded, policy, benchmark, layout)
            ]
            parts += [part.assign(policy=policy, benchmark=benchmark) for part in [*found, _counted(questions, config)]]
    return pd.concat(parts, ignore_index=True).assign(seed=NO_SEED)


def _columns(config: EvaluationConfig, method: str, backbone: str, aggregation: str) -> pd.DataFrame:
    return pd.DataFrame({"n": config.n}).assign(method=method, backbone=backbone, aggregation=aggregation)


def _reference_scores(
    config: EvaluationConfig, graded: pd.DataFrame, policy: str, benchmark: str, layout: Layout
) -> list[tuple[str, str, str, Floats]]:
    """Method, backbone, aggregation and the samples' scores of each reference that scores solutions."""
    path = Path(layout.rollouts(policy, benchmark))
    own = formats.read(path, formats.ROLLOUTS)
    found = []
    if own["log_likelihood"].isna().any():
        say(f"{policy}, {benchmark}: samples without log_likelihood; the reference policy-likelihood is skipped")
    else:
        own["step_scores"] = own["log_likelihood"].map(lambda value: [value])
        likelihoods = aggregated(join(graded, own, path)["step_scores"].tolist(), ["last"])[0]
        found.append(("policy-likelihood", NOTHING, "last", likelihoods))
    for kind in config.references:
        method = "backbone-likelihood" if kind == "likelihood" else kind
        aggregation = "min" if kind == "step-classifier" else "last"
        steps = _step_scores(graded, Path(layout.scores(reference_scorer(kind), policy, benchmark)))
        found.append((method, config.reference_backbone, aggregation, aggregated(steps, [aggregation])[0]))
    return found


def _counted(questions: Questions, config: EvaluationConfig) -> pd.DataFrame:
    """Chance, pass@n and self-consistency, per question."""
    votes = questions.votes(np.ones(len(questions.correct)), config.n, config.vote_subsets, config.seed)
    rows = []
    for rows_of_question, voted in zip(questions.rows, votes):
        correct = questions.correct[rows_of_question]
        share = correct.mean()
        rows.append([share, *(value for n, vote in zip(config.n, voted) for value in (share, pass_at_n(correct, n), vote))])
    keys = [("pass@1", 1), *((method, n) for n in config.n for method in ("random", "pass@n", "self-consistency"))]
    columns = pd.DataFrame(keys, columns=["method", "n"]).assign(backbone=NOTHING, aggregation=NOTHING)
    return questions.table(np.array(rows), columns)
