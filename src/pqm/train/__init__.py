"""Stage `train`: one trainer for every reward model; same labels, backbone, budget and weighting, only the loss differs."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel

from pqm import __version__, formats
from pqm.config import RunConfig, TrainingConfig
from pqm.errors import PqmError
from pqm.evaluate.estimators import aggregate, area_under_curve
from pqm.evaluate.scoring import plant, step_scores
from pqm.progress import progress, say
from pqm.reward_model import Encoder, head, reward_model, save_reward_model
from pqm.solution import SolutionFormat
from pqm.train.data import Batch, Example, examples, stream
from pqm.train.losses import loss_function, reduce
from pqm.work import WorkFolder, content_hash

RUN_FILE = "run.json"
LOG_FILE = "training.csv"


def train(
    run: RunConfig,
    training: TrainingConfig,
    seed: int,
    labels: Path,
    validation: Path,
    backbone: Path,
    output: Path,
    work: WorkFolder,
) -> None:
    """Train a reward model on `labels` from `backbone` and write its checkpoint, log and model card to `output`.

    Args:
        seed: of the head and of the order of the batches.
        labels, validation: label tables.
        backbone: a `transformers` folder with its solution format.

    Raises:
        PqmError: no solution has a step, or the loss is not a number (the message names run, seed and step).
    """
    torch.set_num_threads(training.threads)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    form = SolutionFormat.load(backbone)
    table, held_out = (formats.read(path, formats.LABELS) for path in (labels, validation))
    for frame, path in ((table, labels), (held_out, validation)):
        form.expect(frame, path, backbone)
    if run.targets == "soft" and table["method"].str.contains("early stop|binary|hard labels only").any():
        raise PqmError(
            f"{labels}: made with early stop or binary search, or published, with hard labels only; the run asks for soft ones"
        )
    model, tokenizer = reward_model(backbone, seed)
    encoder = Encoder(tokenizer, form)
    data = examples(table, encoder, run.targets)
    if not data:
        raise PqmError(f"{labels}: no solution has a step; nothing to train on")
    loss = loss_function(run.loss, run.zeta, training.normalizer)
    schedule = _Schedule.of(data, run, training)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=training.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    log: list[dict[str, Any]] = []
    start = _resume(work, model, optimizer, log)
    pad = tokenizer.pad_token_id or 0  # any token: padding is never seen by a scored position
    losses: list[float] = []
    for step, batch in zip(progress(range(schedule.steps), output.name, "step"), stream(data, training.batch_tokens, pad, seed)):
        if step < start:
            continue
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * schedule.factor(step)
        value = _train_step(accelerator, model, optimizer, batch, loss, schedule, training)
        if not math.isfinite(value):
            raise PqmError(f"{output}: the loss is {value} at step {step} (seed {seed}); lower the learning rate")
        losses.append(value)
        if (step + 1) % training.checkpoint_every == 0 or step + 1 == schedule.steps:
            log.append({"step": step + 1, "loss": float(np.mean(losses))} | validate(model, encoder, held_out, run, training))
            say(", ".join(f"{key} {value:.4g}" for key, value in log[-1].items()))
            losses.clear()
            _save_state(work, model, optimizer, step + 1, log)
    with formats.whole_folder(output) as part:
        bare = accelerator.unwrap_model(model)
        save_reward_model(bare, tokenizer, form, part)
        pd.DataFrame(log).to_csv(part / LOG_FILE, index=False)
        facts = _facts(run, training, seed, labels, backbone, data, schedule, log)
        (part / RUN_FILE).write_text(json.dumps(_without_nan(facts), indent=2) + "\n")
        (part / "README.md").write_text(model_card(facts))


class _Schedule:
    """How many steps, the learning rate over them, and the weight that an average step's batch has."""

    def __init__(self, steps: int, warmup: int, learning_rate: float, weight_a_step: float) -> None:
        self.steps, self.warmup, self.learning_rate, self.weight_a_step = steps, warmup, learning_rate, weight_a_step

    @classmethod
    def of(cls, data: list[Example], run: RunConfig, training: TrainingConfig) -> "_Schedule":
        from pqm.train.data import batches

        an_epoch = len(batches(data, training.batch_tokens, np.random.default_rng(0)))
        weights = [1 if training.weighting == "trajectory" else len(one.labels) for one in data]
        steps = max(1, round(an_epoch * training.epochs))
        return cls(
            steps, round(steps * training.warmup_share), run.learning_rate or training.learning_rate, sum(weights) / an_epoch
        )

    def factor(self, step: int) -> float:
        """Linear warm-up, then linear decay to 0 (the paper's schedule)."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return (self.steps - step) / max(1, self.steps - self.warmup)


def scores_at(model: PreTrainedModel, tokens: Tensor, step_ends: Tensor) -> Tensor:
    """Step logits, shape [rows, steps]: only the steps' ends go through the head.

    Rows are padded on the right and read causally, so no mask is needed: padding is never seen by a scored position.
    """
    hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    at_ends = hidden.gather(1, step_ends.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
    return head(model)(at_ends).squeeze(-1)


def _train_step(
    accelerator: Accelerator,
    model: PreTrainedModel,
    optimizer: Any,
    batch: Batch,
    loss: Any,
    schedule: _Schedule,
    training: TrainingConfig,
) -> float:
    """One update; the sum of the trajectories' losses is divided by an average batch's weight, not by this batch's."""
    model.train()
    tokens, ends, labels = (item.to(accelerator.device) for item in (batch.tokens, batch.step_ends, batch.labels))
    total, weight = reduce(loss(scores_at(model, tokens, ends), labels), labels, training.weighting)
    optimizer.zero_grad()
    accelerator.backward(total / schedule.weight_a_step)
    accelerator.clip_grad_norm_(model.parameters(), training.clip)
    optimizer.step()
    return float(total.detach() / weight.clamp(min=1))


def validate(
    model: PreTrainedModel, encoder: Encoder, held_out: pd.DataFrame, run: RunConfig, training: TrainingConfig
) -> dict[str, float]:
    """How well the model orders validation steps and solutions.

    `step_auc`: chance that a step labelled 1 scores above one labelled 0. `solution_auc`: the same for right and wrong
    solutions of one question, averaged over the questions that have both; the figure that settings are chosen by.
    """
    model.eval()
    steps, labels, by_question = [], [], []
    for _, group in held_out.groupby("question_id", sort=True):
        encoded = [encoder(prompt, list(parts)) for prompt, parts in zip(group["prompt"], group["completions"])]
        prompt_tokens = len(encoder(group["prompt"].iloc[0], []).tokens)
        scores = step_scores(model, plant(encoded, prompt_tokens, training.batch_tokens))
        steps += [score for one in scores for score in one]
        labels += [label for one in group["labels"] for label in one]
        solutions = np.array([aggregate(one, run.aggregation) for one in scores])
        by_question.append(area_under_curve(solutions, group["correct"].to_numpy()))
    return {
        "step_auc": area_under_curve(np.array(steps), np.array(labels) >= 0.5),
        "solution_auc": float(np.nanmean(by_question)) if not np.isnan(by_question).all() else float("nan"),
    }


def _resume(work: WorkFolder, model: PreTrainedModel, optimizer: Any, log: list[dict[str, Any]]) -> int:
    saved = work.path / "state.pt"
    if not saved.exists():
        return 0
    content = torch.load(saved, weights_only=False)
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    log.extend(content["log"])
    say(f"going on from step {content['step']}")
    return int(content["step"])


def _save_state(work: WorkFolder, model: PreTrainedModel, optimizer: Any, step: int, log: list[dict[str, Any]]) -> None:
    with formats.whole_file(work.path / "state.pt") as part, part.open("wb") as stream:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "log": log}, stream)


def _facts(
    run: RunConfig,
    training: TrainingConfig,
    seed: int,
    labels: Path,
    backbone: Path,
    data: list[Example],
    schedule: _Schedule,
    log: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "pqm": __version__,
        "run": run.model_dump(),
        "training": training.model_dump(),
        "seed": seed,
        "labels": str(labels),
        "labels_sha256": content_hash(labels),
        "backbone": str(backbone),
        "backbone_sha256": content_hash(backbone),
        "solutions": len(data),
        "optimizer_steps": schedule.steps,
        "tokens": round(sum(len(one.encoded.tokens) for one in data) * training.epochs),
        "validation": log[-1],
    }


def _without_nan(value: Any) -> Any:
    """NaN as null, which JSON has."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def model_card(facts: dict[str, Any]) -> str:
    """The README of a checkpoint."""
    run, validation = facts["run"], facts["validation"]
    margin = "" if run["zeta"] is None else f", zeta {run['zeta']:g}"
    return f"""---
library_name: transformers
pipeline_tag: token-classification
tags: [process-reward-model]
---
# Reward model, loss {run["loss"]}{margin}, seed {facts["seed"]}

Scores each step of a solution with a logit at the step's end; the text format is in `solution_format.json`.
A solution's score is its {"last" if run["loss"] == "orm" else "lowest"} step score.

| | |
|---|---|
| loss | {run["loss"]}{margin}, {run["targets"]} targets, normalizer {facts["training"]["normalizer"]} |
| labels | `{facts["labels"]}`, SHA-256 `{facts["labels_sha256"]}`, {facts["solutions"]} solutions |
| backbone | `{facts["backbone"]}`, SHA-256 `{facts["backbone_sha256"]}` |
| training | {facts["optimizer_steps"]} steps, all settings in `{RUN_FILE}`, curve in `{LOG_FILE}` |
| validation | step AUC {validation["step_auc"]:.4f}, solution AUC {validation["solution_auc"]:.4f} |

Made by pqm {facts["pqm"]}.
"""
