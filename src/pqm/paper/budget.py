"""What a study will cost before anything of it is run: GPU hours and disk, from its settings and stated assumptions.

Work is counted in floating point operations, 2 P a token read or written and 6 P a token trained on for a model of P
parameters; hours follow from the GPU's peak and the share of it that each stage is assumed to reach. Nothing here is measured.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import pandas as pd

from pqm.config import LabelsConfig, RolloutsConfig, TextSizes
from pqm.errors import PqmError
from pqm.paper import FIGURE_NEEDS, TABLE_NEEDS
from pqm.paper.study import Study

FORWARD, TRAINED = 2, 6
BYTES_A_PARAMETER = 2  # bf16
GIGABYTE = 1e9
Job = tuple[str, str, float, float, float]
Value = TypeVar("Value")


class Budget:
    """The GPU hours and gigabytes of each job of a study.

    Raises:
        PqmError: the assumptions say nothing of a model, a data set or a label set of the study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        if study.settings.assumptions is None:
            raise PqmError(f"{study.file}: section 'assumptions' is missing, which a budget is made from")
        self.assumed = study.settings.assumptions

    def jobs(self) -> pd.DataFrame:
        """One row a job: stage, item, tokens, gpu_hours, disk_gb."""
        rows = [*self._models(), *self._rollouts(), *self._labels(), *self._train(), *self._scores()]
        return pd.DataFrame(rows, columns=["stage", "item", "tokens", "gpu_hours", "disk_gb"])

    def _models(self) -> Iterable[Job]:
        """Downloads: each model once, however many policies and backbones it is."""
        for model in sorted({self._model(kind, name) for kind in ("policies", "backbones") for name in self._names(kind)}):
            yield "policies", model, 0.0, 0.0, self._weights_gb(model)

    def _rollouts(self) -> Iterable[Job]:
        for policy in self.study.evaluation.policies:
            for dataset in self._names("rollouts"):
                tokens = self._sampled(dataset)
                yield "rollouts", f"{policy}/{dataset}", tokens, self._hours("sampling", FORWARD, "policies", policy, tokens), 0.0

    def _labels(self) -> Iterable[Job]:
        """Monte Carlo labels: each prefix is completed, which writes half a solution on average; published labels cost nothing."""
        for name, config in self.study.settings.labels.items():
            if not isinstance(config, LabelsConfig):
                continue
            size = self._dataset(config.dataset)
            samples = self._rollouts_config(config.dataset).samples * len(config.policies)
            tokens = size.questions * samples * (size.steps - 1) * config.completions * size.solution_tokens / 2
            yield "labels", name, tokens, self._hours("sampling", FORWARD, "policies", config.completer, tokens), 0.0

    def _train(self) -> Iterable[Job]:
        for run in self.study.runs:
            config = self.study.run(run)
            tokens = self._known("label_tokens", self.assumed.label_tokens, config.labels) * self.study.training.epochs
            hours = self._hours("training", TRAINED, "backbones", config.backbone, tokens)
            for seed in self.study.seeds(run):
                yield "train", f"{run}/seed-{seed}", tokens, hours, self._weights_gb(self._model("backbones", config.backbone))

    def _scores(self) -> Iterable[Job]:
        for run in self.study.runs:
            backbone, seeds = self.study.run(run).backbone, len(self.study.seeds(run))
            tokens = sum(self._sampled(name) for _ in self.study.policies(run) for name in self.study.evaluation.scored)
            yield "evaluate", run, tokens * seeds, self._hours("scoring", FORWARD, "backbones", backbone, tokens * seeds), 0.0

    def results(self, jobs: pd.DataFrame) -> pd.DataFrame:
        """One row a table or figure: the GPU hours of its runs beside those of the rollouts and labels that all share, and disk."""
        hours, disk = jobs.set_index(["stage", "item"])["gpu_hours"], jobs.set_index(["stage", "item"])["disk_gb"]
        shared = jobs[jobs["stage"].isin(["rollouts", "labels"])]["gpu_hours"].sum()
        rows = []
        for kind, listed, needs in (
            ("table", self.study.paper.tables, TABLE_NEEDS),
            ("figure", self.study.paper.figures, FIGURE_NEEDS),
        ):
            for name in listed:
                runs = self._runs_behind(name)
                checkpoints = [("train", f"{run}/seed-{seed}") for run in runs for seed in self.study.seeds(run)]
                rows.append(
                    {
                        "result": f"{kind} {name}",
                        "checkpoints": len(checkpoints),
                        "training_hours": hours[checkpoints].sum() if checkpoints else 0.0,
                        "scoring_hours": sum(hours["evaluate", run] for run in runs),
                        "shared_hours": shared if runs or "audit" in needs[name] else 0.0,
                        "disk_gb": disk[checkpoints].sum() if checkpoints else 0.0,
                    }
                )
        return pd.DataFrame(rows)

    def _drawn_from(self, result: str) -> list[str]:
        needs = (TABLE_NEEDS | FIGURE_NEEDS)[result]
        return [need.removeprefix("table ") for need in needs if need.startswith("table ")]

    def _runs_behind(self, result: str) -> tuple[str, ...]:
        """The runs that a result is about, also through the table that it is drawn from."""
        listed = {**self.study.paper.tables, **self.study.paper.figures}
        return tuple(dict.fromkeys(run for name in (result, *self._drawn_from(result)) for run in listed.get(name, ())))

    # ------------------------------------------------------------ what is assumed

    def _names(self, kind: str) -> list[str]:
        return list(getattr(self.study.settings, kind))

    def _rollouts_config(self, dataset: str) -> RolloutsConfig:
        return self._known("rollouts", self.study.settings.rollouts, dataset)

    def _sampled(self, dataset: str) -> float:
        """Tokens that a policy writes on a data set, with the question that each sample's scoring or sampling shares."""
        size = self._dataset(dataset)
        return size.questions * (size.question_tokens + self._rollouts_config(dataset).samples * size.solution_tokens)

    def _dataset(self, name: str) -> TextSizes:
        return self._known("datasets", self.assumed.datasets, name)

    def _model(self, kind: str, name: str) -> str:
        return self._known(kind, getattr(self.assumed, kind), name)

    def _known(self, key: str, table: Mapping[str, Value], name: str) -> Value:
        if name not in table:
            raise PqmError(f"{self.study.file}: assumptions: {key} says nothing of {name!r}, which the study has")
        return table[name]

    def _weights_gb(self, model: str) -> float:
        return self._known("parameters", self.assumed.parameters, model) * BYTES_A_PARAMETER / GIGABYTE

    def _hours(self, work: str, operations: int, kind: str, name: str, tokens: float) -> float:
        parameters = self._known("parameters", self.assumed.parameters, self._model(kind, name))
        return operations * parameters * tokens / (self.assumed.peak_flops * getattr(self.assumed.reached, work)) / 3600


def budget(study: Study) -> str:
    """Both tables as Markdown, a sum below the first."""
    reckoned = Budget(study)
    jobs = reckoned.jobs()
    stages = jobs.groupby("stage", sort=False)[["tokens", "gpu_hours", "disk_gb"]].sum()
    stages.insert(0, "jobs", jobs.groupby("stage", sort=False).size())
    stages.loc["all"] = stages.sum()
    stages["tokens"] /= 1e9
    shown = stages.rename(columns={"tokens": "tokens, billions"}).reset_index()
    return "\n\n".join(
        [
            f"GPU hours of one {reckoned.assumed.gpu}, assumed and not measured.",
            shown.to_markdown(index=False, floatfmt=("", ".0f", ".2f", ".0f", ".0f")),
            reckoned.results(jobs).to_markdown(index=False, floatfmt=".0f"),
        ]
    )
