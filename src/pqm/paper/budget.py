"""What a study will cost: GPU hours and disk space, computed from its settings and assumptions before anything is run.

A model of P parameters needs 2 P floating point operations per token that it reads or writes, and 6 P per token that it is
trained on. Hours follow from the GPU's peak and the share of the peak that each stage is assumed to reach. Nothing is measured.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import pandas as pd

from pqm.errors import PqmError
from pqm.paper.declared import declared
from pqm.paper.results import Results
from pqm.study.assumptions import TextSizes
from pqm.study.labels import LabelsConfig
from pqm.study.rollouts import RolloutsConfig
from pqm.study.training import TRIED_SHARE

FORWARD, TRAINED = 2, 6  # operations per parameter and token
BYTES_PER_PARAMETER = 2  # bf16
GIGABYTE = 1e9
Job = tuple[str, str, float, float, float]
Value = TypeVar("Value")


def budget(results: Results) -> str:
    """The costs by stage, with their sum, and by result: two Markdown tables.

    Raises:
        PqmError: the study has no assumptions, or they lack a model, a data set or a label set of the study.
    """
    estimate = Budget(results)
    jobs = estimate.jobs()
    stages = jobs.groupby("stage", sort=False)[["tokens", "gpu_hours", "disk_gb"]].sum()
    stages.insert(0, "jobs", jobs.groupby("stage", sort=False).size())
    stages.loc["all"] = stages.sum()
    stages["tokens"] /= 1e9
    shown = stages.rename(columns={"tokens": "tokens, billions"}).reset_index()
    return "\n\n".join(
        [
            f"GPU hours of one {estimate.assumed.gpu}, assumed and not measured.",
            shown.to_markdown(index=False, floatfmt=("", ".0f", ".2f", ".1f", ".0f")),
            estimate.by_result(jobs).to_markdown(index=False, floatfmt=("", ".0f", ".1f", ".1f", ".1f", ".0f")),
        ]
    )


class Budget:
    """The GPU hours and gigabytes of each job of a study.

    Raises:
        PqmError: the study has no assumptions, or they lack a model, a data set or a label set of the study.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        if results.settings.assumptions is None:
            raise PqmError(f"{results.file}: section 'assumptions' is missing; a budget is computed from it")
        self.assumed = results.settings.assumptions

    def jobs(self) -> pd.DataFrame:
        """One row per job: stage, item, tokens, gpu_hours, disk_gb."""
        models = list(self._models())
        work = [*self._pretraining(), *self._rollouts(), *self._labels(), *self._rates(), *self._train(), *self._scores()]
        start = self.assumed.job_seconds / 3600
        rows = [*models, *((stage, item, tokens, hours + start, disk) for stage, item, tokens, hours, disk in work)]
        return pd.DataFrame(rows, columns=["stage", "item", "tokens", "gpu_hours", "disk_gb"])

    def _models(self) -> Iterable[Job]:
        """Downloads: each model once, however many policies and backbones use it."""
        for model in sorted({self._model(kind, name) for kind in ("policies", "backbones") for name in self._names(kind)}):
            yield "policies", model, 0.0, 0.0, self._weights_gb(model)

    def _pretraining(self) -> Iterable[Job]:
        """Without the validation of the snapshots."""
        for name, config in self.results.settings.pretraining.items():
            tokens = config.batch_tokens * sum(phase.steps for phase in config.phases)
            weights = self._weights_gb(self._model("pretraining", name)) * len(config.snapshot_shares())
            yield "policies", name, tokens, self._hours("training", TRAINED, "pretraining", name, tokens), weights

    def _rollouts(self) -> Iterable[Job]:
        for policy in self.results.evaluation.policies:
            for dataset in self._names("rollouts"):
                tokens = self._sampled(dataset)
                yield "rollouts", f"{policy}/{dataset}", tokens, self._hours("sampling", FORWARD, "policies", policy, tokens), 0.0

    def _labels(self) -> Iterable[Job]:
        """Monte Carlo labels: a completion of a prefix has half a solution's tokens on average. Published labels cost nothing."""
        for name, config in self.results.settings.labels.items():
            if not isinstance(config, LabelsConfig):
                continue
            size, annotated = self._dataset(config.dataset), config.dataset in self.results.settings.annotated
            samples = 1 if annotated else self._rollouts_config(config.dataset).samples * len(config.policies)
            tokens = size.questions * samples * (size.steps - 1) * config.completions * size.solution_tokens / 2
            yield "labels", name, tokens, self._hours("sampling", FORWARD, "policies", config.completer, tokens), 0.0

    def _rates(self) -> Iterable[Job]:
        """Trainings that choose a learning rate."""
        rates = self.results.training.learning_rates or ()
        for run in self.results.runs if rates else ():
            config = self.results.run(run)
            if config.learning_rate is None:
                tokens = self._training_tokens(run) * len(rates) * TRIED_SHARE
                hours = self._hours("training", TRAINED, "backbones", config.backbone, tokens)
                yield "train", f"{run}/learning-rate", tokens, hours, 0.0

    def _training_tokens(self, run: str) -> float:
        labels = self.results.run(run).labels
        return self._known("label_tokens", self.assumed.label_tokens, labels) * self.results.training.epochs

    def _train(self) -> Iterable[Job]:
        for run in self.results.runs:
            config, tokens = self.results.run(run), self._training_tokens(run)
            hours = self._hours("training", TRAINED, "backbones", config.backbone, tokens)
            for scorer in self.results.scorers(run):
                yield "train", scorer, tokens, hours, self._weights_gb(self._model("backbones", config.backbone))

    def _scores(self) -> Iterable[Job]:
        for run in self.results.runs:
            backbone, seeds = self.results.run(run).backbone, len(self.results.seeds(run))
            tokens = sum(self._sampled(name) for _ in self.results.policies(run) for name in self.results.evaluation.scored)
            yield "evaluate", run, tokens * seeds, self._hours("scoring", FORWARD, "backbones", backbone, tokens * seeds), 0.0

    def by_result(self, jobs: pd.DataFrame) -> pd.DataFrame:
        """One row per table or figure: GPU hours of its runs, hours of the rollouts and labels that all share, and disk."""
        hours, disk = jobs.set_index(["stage", "item"])["gpu_hours"], jobs.set_index(["stage", "item"])["disk_gb"]
        shared = jobs[jobs["stage"].isin(["rollouts", "labels"])]["gpu_hours"].sum()
        rows = []
        for kind in ("tables", "figures"):
            for name in self.results.listed(kind):
                runs = self._runs_behind(kind, name)
                checkpoints = [("train", scorer) for run in runs for scorer in self.results.scorers(run)]
                rows.append(
                    {
                        "result": f"{kind.removesuffix('s')} {name}",
                        "checkpoints": len(checkpoints),
                        "training_hours": hours[checkpoints].sum() if checkpoints else 0.0,
                        "scoring_hours": sum(hours["evaluate", run] for run in runs),
                        "shared_hours": shared if runs or "audit" in declared(kind, name).needs else 0.0,
                        "disk_gb": disk[checkpoints].sum() if checkpoints else 0.0,
                    }
                )
        return pd.DataFrame(rows)

    def _runs_behind(self, kind: str, name: str) -> list[str]:
        """The runs of a result, and those of the tables that it is drawn from."""
        tables = [need.removeprefix("table ") for need in declared(kind, name).needs if need.startswith("table ")]
        included = [self.results.listed(kind)[name], *(self.results.config.tables.get(table, ()) for table in tables)]
        return list(dict.fromkeys(run for runs in included for run in runs))

    # ------------------------------------------------------------ assumptions

    def _names(self, kind: str) -> list[str]:
        return list(getattr(self.results.settings, kind))

    def _rollouts_config(self, dataset: str) -> RolloutsConfig:
        return self._known("rollouts", self.results.settings.rollouts, dataset)

    def _sampled(self, dataset: str) -> float:
        """Tokens of a policy's samples on a data set, with those of each question once: its samples share it."""
        size = self._dataset(dataset)
        return size.questions * (size.question_tokens + self._rollouts_config(dataset).samples * size.solution_tokens)

    def _dataset(self, name: str) -> TextSizes:
        return self._known("datasets", self.assumed.datasets, name)

    def _model(self, kind: str, name: str) -> str:
        return self._known(kind, getattr(self.assumed, kind), name)

    def _known(self, key: str, table: Mapping[str, Value], name: str) -> Value:
        if name not in table:
            raise PqmError(f"{self.results.file}: assumptions: {key} has no {name!r}, which the study uses")
        return table[name]

    def _weights_gb(self, model: str) -> float:
        return self._known("parameters", self.assumed.parameters, model) * BYTES_PER_PARAMETER / GIGABYTE

    def _hours(self, work: str, operations: int, kind: str, name: str, tokens: float) -> float:
        parameters = self._known("parameters", self.assumed.parameters, self._model(kind, name))
        return operations * parameters * tokens / (self.assumed.peak_flops * getattr(self.assumed.reached, work)) / 3600
