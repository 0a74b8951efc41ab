"""Stage `train`: one trainer for every reward model; same labels, backbone, budget and weighting, only the loss differs."""

import json
import math
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from transformers import PreTrainedModel

from pqm import __version__, formats
from pqm.config import RunConfig, TrainingConfig
from pqm.errors import PqmError
from pqm.evaluate.estimators import aggregate, area_under_curve
from pqm.evaluate.scoring import plant, step_scores
from pqm.memory import fits
from pqm.progress import progress, say
from pqm.reward_model import Encoder, head, reward_model, save_reward_model
from pqm.solution import SolutionFormat
from pqm.train.data import Batch, Example, examples, parts, readable, stream
from pqm.train.losses import loss_function, reduce
from pqm.work import WorkFolder, content_hash, noticing_sigterm

RUN_FILE = "run.json"
LOG_FILE = "training.csv"

Result = TypeVar("Result")


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
        PqmError: no solution has a step, the loss is not a number (the message names run, seed and step), or one solution
            alone is too much for the device's memory.
        SystemExit: SIGTERM came; the state is saved.
    """
    torch.set_num_threads(training.threads)
    accelerator = _accelerator(training)
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
    limit = getattr(model.config, "max_position_embeddings", None)
    whole_table, whole_held_out = table, held_out
    table, held_out = readable(table, encoder, limit), readable(held_out, encoder, limit)
    left_out = {"training": len(whole_table) - len(table), "validation": len(whole_held_out) - len(held_out)}
    if any(left_out.values()):
        _say(accelerator, f"left out, longer than the backbone's {limit} positions: {left_out}")
    data = examples(table, encoder, run.targets)
    if not data or held_out.empty:
        raise PqmError(f"{labels if not data else validation}: no solution has a step and fits into {limit} positions")
    schedule = _Schedule.of(data, run, training)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=training.weight_decay)
    whole, optimizer = accelerator.prepare(Whole(model), optimizer)
    update = _Update(accelerator, whole, optimizer, run, training, schedule, work)
    start, log, losses = _resume(accelerator, work)
    pad = tokenizer.pad_token_id or 0  # any token: padding is never seen by a scored position
    steps = progress(range(schedule.steps), output.name, "step") if accelerator.is_main_process else range(schedule.steps)
    with noticing_sigterm() as told_to_stop:
        for step, batch in zip(steps, stream(data, training.batch_tokens, pad, seed)):
            if step < start:
                continue
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * schedule.factor(step)
            value, stop = _train_step(update, batch, told_to_stop)
            if not math.isfinite(value):
                raise PqmError(f"{output}: the loss is {value} at step {step} (seed {seed}); lower the learning rate")
            losses.append(value)
            judged = (step + 1) % training.checkpoint_every == 0 or step + 1 == schedule.steps
            if judged:
                log.append({"step": step + 1, "loss": float(np.mean(losses))} | update.validate(encoder, held_out))
                _say(accelerator, ", ".join(f"{key} {value:.4g}" for key, value in log[-1].items()))
                losses.clear()
            if judged or stop:
                _save_state(accelerator, work, step + 1, log, losses)
            if stop:
                _say(
                    accelerator, f"told to stop (SIGTERM): state saved after step {step + 1}; the same command goes on from there"
                )
                sys.exit(128 + signal.SIGTERM)
    weights = accelerator.get_state_dict(whole)
    if accelerator.is_main_process:
        with formats.whole_folder(output) as part:
            own = {name.removeprefix("model."): weight for name, weight in weights.items()}
            save_reward_model(accelerator.unwrap_model(whole).model, tokenizer, form, part, own)
            pd.DataFrame(log).to_csv(part / LOG_FILE, index=False)
            facts = _facts(run, training, seed, labels, backbone, data, left_out, schedule, log)
            (part / RUN_FILE).write_text(json.dumps(_without_nan(facts), indent=2) + "\n")
            (part / "README.md").write_text(model_card(facts))
    accelerator.wait_for_everyone()


def _accelerator(training: TrainingConfig) -> Accelerator:
    """Devices and processes, as `accelerate launch` set them up; one process where nothing did."""
    precision = {"fp32": "no", "bf16": "bf16"}[training.precision]
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision=precision, gradient_accumulation_steps=training.accumulation
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:  # it clips by itself, and wants a number of rows
        accelerator.state.deepspeed_plugin.deepspeed_config |= {
            "gradient_clipping": training.clip,
            "train_micro_batch_size_per_gpu": 1,
        }
    return accelerator


def _say(accelerator: Accelerator, message: str) -> None:
    if accelerator.is_main_process:
        say(message)


class Whole(nn.Module):
    """A model whose forward pass is any function of it.

    What gathers weights and averages gradients (DDP, FSDP, ZeRO) hangs on the outermost module's forward pass, while we
    read hidden states inside.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self._no_split_modules = model._no_split_modules  # the layers that FSDP shards one by one

    def forward(self, read: Callable[..., Result], *arguments: Any) -> Result:
        return read(self.model, *arguments)


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


class _Update:
    """How one step's batch becomes one update, over processes and in parts, and what the model is worth after it.

    A batch's rows are dealt to processes x parts; the sum of all trajectories' losses is divided by an average batch's
    weight, not by this batch's. So neither the number of processes nor that of parts changes the update.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        whole: nn.Module,
        optimizer: Any,
        run: RunConfig,
        training: TrainingConfig,
        schedule: _Schedule,
        work: WorkFolder,
    ) -> None:
        self.accelerator, self.whole, self.optimizer, self.schedule = accelerator, whole, optimizer, schedule
        self.run, self.training = run, training
        self.loss = loss_function(run.loss, run.zeta, training.normalizer)
        self._parts_file = work.path / "parts"
        self.parts = int(self._parts_file.read_text()) if self._parts_file.exists() else training.accumulation

    def gradients(self, batch: Batch) -> Tensor:
        """Add up the batch's gradients; the sums of this process' losses and weights."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        self.whole.train()
        self.whole.zero_grad()
        accelerator.step, accelerator.gradient_accumulation_steps = 0, self.parts
        sums = torch.zeros(2, device=accelerator.device)
        for part in parts(batch, self.parts * processes)[accelerator.process_index :: processes]:
            tokens, ends, labels = (item.to(accelerator.device) for item in (part.tokens, part.step_ends, part.labels))
            with accelerator.accumulate(self.whole):
                total, weight = reduce(self.loss(self.whole(scores_at, tokens, ends), labels), labels, self.training.weighting)
                # accelerate divides by the parts, and takes the mean over processes; we want sums
                accelerator.backward(total * (self.parts * processes) / self.schedule.weight_a_step)
            sums += torch.stack([total, weight]).detach()
        return sums

    def validate(self, encoder: Encoder, held_out: pd.DataFrame) -> dict[str, float]:
        """`validate`, by every process alike, in batches as large as a process trains on."""

        def run() -> dict[str, float]:
            budget = max(1, self.training.batch_tokens // (self.parts * self.accelerator.num_processes))
            return validate(self.whole, encoder, held_out, self.run.aggregation, budget)

        return self.within_memory(run, self.training.batch_tokens // self.accelerator.num_processes)

    def within_memory(self, run: Callable[[], Result], most: int) -> Result:
        """`run`, again with twice the parts each time that memory is full, until there are `most`.

        Several processes cannot try again in the midst of a step, which they take together: this one ends, and the next
        try of all starts with twice the parts.
        """
        while (result := fits(run)) is None:
            if self.parts >= most:
                raise PqmError("out of memory with one solution at a time; take a larger device, or share the weights (FSDP)")
            self.parts *= 2
            message = f"out of memory: each process now reads its share of a step in {self.parts} parts"
            with formats.whole_file(self._parts_file) as part:
                part.write_text(str(self.parts))
            if self.accelerator.num_processes > 1:
                raise PqmError(f"{message}, from the last saved state: the same command goes on there")
            say(message)
        return result


def _train_step(update: _Update, batch: Batch, told_to_stop: Callable[[], bool]) -> tuple[float, bool]:
    """One update; the mean loss of the batch, and whether any process was told to stop."""
    accelerator = update.accelerator
    sums = update.within_memory(lambda: update.gradients(batch), len(batch.tokens) // accelerator.num_processes)
    accelerator.clip_grad_norm_(update.whole.parameters(), update.training.clip)
    update.optimizer.step()
    total, weight, stop = accelerator.reduce(torch.cat([sums, sums.new_tensor([float(told_to_stop())])]), "sum")
    return float(total / weight.clamp(min=1)), bool(stop)


@torch.no_grad()
def validate(whole: nn.Module, encoder: Encoder, held_out: pd.DataFrame, aggregation: str, budget: int) -> dict[str, float]:
    """How well the model orders validation steps and solutions, read in batches of `budget` tokens.

    `step_auc`: chance that a step labelled 1 scores above one labelled 0. `solution_auc`: the same for right and wrong
    solutions of one question, averaged over the questions that have both; the figure that settings are chosen by.
    """
    whole.eval()
    steps, labels, by_question = [], [], []
    for _, group in held_out.groupby("question_id", sort=True):
        encoded = [encoder(prompt, list(parts)) for prompt, parts in zip(group["prompt"], group["completions"])]
        prompt_tokens = len(encoder(group["prompt"].iloc[0], []).tokens)
        scores = whole(step_scores, plant(encoded, prompt_tokens, budget))
        steps += [score for one in scores for score in one]
        labels += [label for one in group["labels"] for label in one]
        solutions = np.array([aggregate(one, aggregation) for one in scores])
        by_question.append(area_under_curve(solutions, group["correct"].to_numpy()))
    return {
        "step_auc": area_under_curve(np.array(steps), np.array(labels) >= 0.5),
        "solution_auc": float(np.nanmean(by_question)) if not np.isnan(by_question).all() else float("nan"),
    }


def _resume(accelerator: Accelerator, work: WorkFolder) -> tuple[int, list[dict[str, Any]], list[float]]:
    """Load the newest saved state: the steps done, the log, and the losses since its last row."""
    states = sorted(work.path.glob("state-*"))
    if not states:
        return 0, [], []
    accelerator.load_state(str(states[-1]))
    content = json.loads((states[-1] / "progress.json").read_text())
    _say(accelerator, f"going on from step {content['step']}")
    return content["step"], content["log"], content["losses"]


def _save_state(accelerator: Accelerator, work: WorkFolder, step: int, log: list[dict[str, Any]], losses: list[float]) -> None:
    """Write what every process holds into one folder, whole or not at all, and forget the earlier ones."""
    folder = work.path / f"state-{step:08d}"
    with formats.whole_folder(folder) if accelerator.is_main_process else nullcontext() as part:
        shared = Path(broadcast_object_list([str(part)])[0])
        accelerator.save_state(str(shared))
        if accelerator.is_main_process:
            (shared / "progress.json").write_text(json.dumps({"step": step, "log": log, "losses": losses}))
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for earlier in set(work.path.glob("state-*")) - {folder}:
            shutil.rmtree(earlier)
    accelerator.wait_for_everyone()


def _facts(
    run: RunConfig,
    training: TrainingConfig,
    seed: int,
    labels: Path,
    backbone: Path,
    data: list[Example],
    left_out: dict[str, int],
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
        "too_long": left_out,
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
