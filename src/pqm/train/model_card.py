"""The metadata of a checkpoint: `run.json` and README.md."""

from pathlib import Path
from typing import Any

from pqm import __version__
from pqm.io.shard_cache import content_hash
from pqm.losses.common.loss import Loss
from pqm.study.layout import RUN_FILE
from pqm.study.runs import RunConfig
from pqm.study.training import TrainingConfig

LOG_FILE = "training.csv"


def training_facts(run: RunConfig, training: TrainingConfig, seed: int, labels: Path, backbone: Path) -> dict[str, Any]:
    """The settings of a training, and its inputs with their hashes."""
    return {
        "pqm": __version__,
        "run": run.model_dump(),
        "training": training.model_dump(),
        "seed": seed,
        "labels": str(labels),
        "labels_sha256": content_hash(labels),
        "backbone": str(backbone),
        "backbone_sha256": content_hash(backbone),
    }


def model_card(facts: dict[str, Any], loss: Loss) -> str:
    """The text of a checkpoint's README.md."""
    run = facts["run"]
    validation = {key: float("nan") if value is None else value for key, value in facts["validation"].items()}
    settings = "".join(f", {name} {value}" for name, value in run["loss_settings"].items())
    return f"""---
library_name: transformers
pipeline_tag: token-classification
tags: [process-reward-model]
---
# Reward model, loss {run["loss"]}{settings}, seed {facts["seed"]}

Scores each step of a solution with a logit at the step's end; the text format is in `solution_format.json`.
A solution's score is its {"last" if loss.outcome else "lowest"} step score.

| | |
|---|---|
| loss | {run["loss"]}{settings}, {run["targets"]} targets |
| labels | `{facts["labels"]}`, SHA-256 `{facts["labels_sha256"]}`, {facts["solutions"]} solutions |
| backbone | `{facts["backbone"]}`, SHA-256 `{facts["backbone_sha256"]}` |
| training | {facts["optimizer_steps"]} steps, all settings in `{RUN_FILE}`, curve in `{LOG_FILE}` |
| validation | step AUC {validation["step_auc"]:.4f}, solution AUC {validation["solution_auc"]:.4f} |

Made by pqm {facts["pqm"]}.
"""
