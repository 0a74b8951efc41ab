"""Stage `train`: one trainer for all reward models, so that runs with the same settings differ only in their loss."""

import json
import math
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, DistributedType

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.shard_cache import ShardCache, noticing_sigterm
from pqm.losses.common.loss import Loss, loss_of
from pqm.models.architecture import expect_attention, position_limit
from pqm.models.placement import use_threads
from pqm.models.prefix_trees import score_outputs
from pqm.models.reward_model import Encoder, reward_model, save_reward_model
from pqm.models.tree_probe import expect_trees_read_right
from pqm.progress import progress, say
from pqm.solution_format import SolutionFormat
from pqm.study.layout import RUN_FILE
from pqm.study.runs import RunConfig
from pqm.study.settings import Precision
from pqm.study.training import TrainingConfig
from pqm.train.data import (
    LabelledTree,
    TrainingExample,
    batches,
    examples,
    expect_one_prompt_per_question,
    labelled_trees,
    readable,
    stream,
)
from pqm.train.model_card import LOG_FILE, model_card, training_facts
from pqm.train.state import resume, save_state
from pqm.train.train_step import AnyForward, TrainStep


@dataclass(frozen=True)
class TrainingFiles:
    """The inputs of a training.

    Attributes:
        labels, validation: label tables.
        backbone: a `transformers` folder with its solution format.
    """

    labels: Path
    validation: Path
    backbone: Path


@dataclass(frozen=True)
class Schedule:
    """The schedule of a training.

    Attributes:
        steps: number of optimizer steps.
        warmup: number of steps with warm-up.
        warmup_type: how the rate rises, see `TrainingConfig`.
        learning_rate: the peak learning rate.
        weight_per_step: the weight of an average batch, see `TrainStep`.
    """

    steps: int
    warmup: int
    warmup_type: Literal["linear", "log"]
    learning_rate: float
    weight_per_step: float

    @classmethod
    def of(cls, trees: list[LabelledTree], run: RunConfig, training: TrainingConfig) -> "Schedule":
        """Compute the schedule of a run from its labelled solutions."""
        per_epoch = len(batches(trees, training.batch_tokens, np.random.default_rng(0)))
        weights = [1 if training.weighting == "trajectory" else len(one.labels) for tree in trees for one in tree.examples]
        steps = max(1, round(per_epoch * training.epochs))
        warmup = round(steps * training.warmup_share)
        learning_rate = run.learning_rate or training.learning_rate
        assert learning_rate is not None, "one of learning_rates is chosen before"
        return cls(steps, warmup, training.warmup_type, learning_rate, sum(weights) / per_epoch)

    def learning_rate_at(self, step: int) -> float:
        """Warm-up, then linear decay to 0."""
        if step < self.warmup and self.warmup_type == "log":
            return self.learning_rate * (math.log(step + 1) / math.log(max(2, self.warmup)))
        if step < self.warmup:
            return self.learning_rate * ((step + 1) / self.warmup)
        return self.learning_rate * ((self.steps - step) / max(1, self.steps - self.warmup))


class Trainer:
    """Trains one reward model.

    Args:
        seed: the seed of the head and of the order of the batches.
        cache: the cache for the training state, from which the same command resumes.
        precision: of the matrix products; weights, losses and heads are in float32.

    Raises:
        PqmError: the labels do not match the run or the backbone, or no solution can be used.
    """

    def __init__(
        self,
        run: RunConfig,
        training: TrainingConfig,
        seed: int,
        files: TrainingFiles,
        cache: ShardCache,
        precision: Precision = "fp32",
    ) -> None:
        use_threads(training.threads)
        self.run, self.training, self.seed, self.files, self.cache = run, training, seed, files, cache
        self.loss: Loss = loss_of(run)
        self.accelerator = accelerator_of(training, precision)
        self.format = SolutionFormat.load(files.backbone)
        self.model, self.tokenizer = reward_model(
            files.backbone, seed, self.loss.scores, training.head_dropout, training.head_bias
        )
        expect_attention(self.model, files.backbone)
        if self.accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):  # they shard weights
            expect_trees_read_right(self.model, files.backbone, score_outputs)
        self.encoder = Encoder(self.tokenizer, self.format)
        self.data, self.held_out, self.left_out = self._read()
        self.trees = labelled_trees(self.data, training.batch_tokens)
        self.schedule = Schedule.of(self.trees, run, training)

    def _read(self) -> tuple[list[TrainingExample], pd.DataFrame, dict[str, int]]:
        """The training examples, the validation labels, and how many solutions of each are skipped as too long."""
        files = {"training": self.files.labels, "validation": self.files.validation}
        tables = {name: formats.read(path, formats.LABELS) for name, path in files.items()}
        for name, path in files.items():
            self.format.expect(tables[name], path, self.files.backbone)
        expect_one_prompt_per_question(tables["validation"], self.files.validation)
        if self.run.targets == "soft" and tables["training"]["method"].str.contains("early stop|binary|hard labels only").any():
            raise PqmError(
                f"{self.files.labels}: contains hard labels only (from early stop, binary search, or a published source); the run"
                " needs soft labels"
            )
        limit = position_limit(self.model)
        kept = {name: readable(table, self.encoder, limit) for name, table in tables.items()}
        left_out = {name: len(tables[name]) - len(table) for name, table in kept.items()}
        if any(left_out.values()):
            self._log(f"skipped solutions longer than the backbone's {limit} positions: {left_out}")
        data = examples(kept["training"], self.encoder, self.run.targets)
        for name, found in (("training", data), ("validation", kept["validation"])):
            if not len(found):
                raise PqmError(f"{files[name]}: no solution has a step and fits into {limit} positions")
        return data, kept["validation"], left_out

    def train(self, output: Path) -> dict[str, Any]:
        """Train, and write the checkpoint, the training curve and the model card to the folder `output`.

        Returns:
            The last row of the training curve, with the validation metrics.

        Raises:
            PqmError: the loss is not finite (the message names output, seed and step), or memory is too small for one tree.
            SystemExit: the process received SIGTERM; the state is saved.
        """
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.schedule.learning_rate, weight_decay=self.training.weight_decay, fused=True
        )
        prepared, optimizer = self.accelerator.prepare(AnyForward(self.model), optimizer)
        update = TrainStep(
            self.accelerator, prepared, optimizer, self.loss.bind(self.run.loss_settings), self.training, self.cache
        )
        state = resume(self.accelerator, self.cache)
        steps = range(self.schedule.steps)
        shown = progress(steps, output.name, "step") if self.accelerator.is_main_process else steps
        with noticing_sigterm() as told_to_stop:
            for step, batch in zip(shown, stream(self.trees, self.training.batch_tokens, self.seed)):
                if step < state.step:
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = self.schedule.learning_rate_at(step)
                value, stop = update(batch, self.schedule.weight_per_step, told_to_stop)
                if not math.isfinite(value):
                    raise PqmError(f"{output}: the loss is {value} at step {step} (seed {self.seed}); lower the learning rate")
                state.losses.append(value)
                state.step = step + 1
                validates = state.step % self.training.checkpoint_every == 0 or state.step == self.schedule.steps
                if validates:
                    figures = update.validate(self.encoder, self.held_out, "last" if self.loss.outcome else "min")
                    state.log.append({"step": state.step, "loss": float(np.mean(state.losses))} | figures)
                    self._log(", ".join(f"{key} {value:.4g}" for key, value in state.log[-1].items()))
                    state.losses.clear()
                if validates or stop:
                    save_state(self.accelerator, self.cache, state)
                if stop:
                    self._log(
                        f"stopped by SIGTERM after step {state.step}; the state is saved, and the same command resumes from it"
                    )
                    sys.exit(128 + signal.SIGTERM)
        self._write(prepared, state.log, output)
        return state.log[-1]

    def _write(self, prepared: torch.nn.Module, log: list[dict[str, Any]], output: Path) -> None:
        weights = self.accelerator.get_state_dict(prepared)
        if self.accelerator.is_main_process:
            facts = training_facts(self.run, self.training, self.seed, self.files.labels, self.files.backbone) | {
                "solutions": len(self.data),
                "too_long": self.left_out,
                "optimizer_steps": self.schedule.steps,
                "tokens": round(sum(len(one.encoded.tokens) for one in self.data) * self.training.epochs),
                "validation": {key: None if math.isnan(value) else value for key, value in log[-1].items()},
            }
            with formats.whole_folder(output) as part:
                own = {name.removeprefix("model."): weight for name, weight in weights.items()}
                save_reward_model(self.accelerator.unwrap_model(prepared).model, self.tokenizer, self.format, part, own)
                pd.DataFrame(log).to_csv(part / LOG_FILE, index=False)
                (part / RUN_FILE).write_text(json.dumps(facts, indent=2) + "\n")
                (part / "README.md").write_text(model_card(facts, self.loss))
        self.accelerator.wait_for_everyone()

    def _log(self, message: str) -> None:
        if self.accelerator.is_main_process:
            say(message)


def accelerator_of(training: TrainingConfig, precision: Precision) -> Accelerator:
    """The devices and processes set up by `accelerate launch`, or else a single process."""
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if precision == "bf16" else "no",
        gradient_accumulation_steps=training.accumulation,
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:  # it clips gradients itself, and requires a number of rows
        accelerator.state.deepspeed_plugin.deepspeed_config |= {
            "gradient_clipping": training.clip,
            "train_micro_batch_size_per_gpu": 1,
        }
    return accelerator
