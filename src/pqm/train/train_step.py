"""One optimizer step, distributed over processes and accumulated in parts, and validation."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

from pqm.errors import PqmError
from pqm.estimation.estimators import aggregate, area_under_curve
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.losses.common.steps import reduce
from pqm.memory import fits
from pqm.models.prefix_trees import build_prefix_trees, reading, step_scores
from pqm.models.reward_model import Encoder
from pqm.progress import say
from pqm.study.training import TrainingConfig
from pqm.train.data import LabelledTree, parts, scores_of

Result = TypeVar("Result")


class AnyForward(nn.Module):
    """A wrapper of the model; its forward pass calls any function of the model.

    DDP, FSDP and ZeRO gather weights and average gradients in the forward pass of the outermost module, but scores need the
    hidden states of an inner module.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self._no_split_modules = model._no_split_modules  # the layers that FSDP shards one by one

    def forward(self, read: Callable[..., Result], *arguments: Any) -> Result:
        """Call `read` with the model and the arguments."""
        return read(self.model, *arguments)


class TrainStep:
    """Makes one update per call.

    The trees of a batch are distributed over processes and parts. The sum of the losses is divided by the weight of an average
    batch, not of this batch. So the update depends neither on the number of processes nor on the number of parts.

    Args:
        model: an `AnyForward`, prepared by the accelerator.
        loss: a function of step scores and labels, with one loss per trajectory.
        cache: the cache that stores the number of parts that fit into memory.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: Any,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingConfig,
        cache: ShardCache,
    ) -> None:
        self.accelerator, self.model, self.optimizer = accelerator, model, optimizer
        self.loss, self.training = loss, training
        self._parts_file = cache.path / "parts"
        self.parts = int(self._parts_file.read_text()) if self._parts_file.exists() else training.accumulation

    def __call__(self, batch: list[LabelledTree], average_weight: float, told_to_stop: Callable[[], bool]) -> tuple[float, bool]:
        """Update the model.

        Args:
            average_weight: the weight of an average batch.
            told_to_stop: whether this process received SIGTERM.

        Returns:
            The mean loss of the batch, and whether any process was told to stop.

        Raises:
            PqmError: out of memory, see `_within_memory`.
        """
        accelerator = self.accelerator
        sums = self._within_memory(
            lambda: self._gradients(batch, average_weight), math.ceil(len(batch) / accelerator.num_processes)
        )
        accelerator.clip_grad_norm_(self.model.parameters(), self.training.clip)
        self.optimizer.step()
        total, weight, stop = accelerator.reduce(torch.cat([sums, sums.new_tensor([float(told_to_stop())])]), "sum")
        return float(total / weight.clamp(min=1)), bool(stop)

    def _gradients(self, batch: list[LabelledTree], average_weight: float) -> Tensor:
        """Accumulate the gradients of the batch; the sums of this process's losses and weights, shape [2]."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        self.model.train()
        self.model.zero_grad()
        accelerator.step, accelerator.gradient_accumulation_steps = 0, self.parts
        sums, inner = torch.zeros(2, device=accelerator.device), accelerator.unwrap_model(self.model).model
        for part in parts(batch, self.parts * processes)[accelerator.process_index :: processes]:
            labels = part.labels.to(accelerator.device)
            with accelerator.accumulate(self.model), reading(inner, part.row, ends_only=True):
                total, weight = reduce(self.loss(self.model(scores_of, part), labels), labels, self.training.weighting)
                # accelerate divides by the number of parts and takes the mean over processes, but we need sums
                accelerator.backward(total * (self.parts * processes) / average_weight)
            sums += torch.stack([total, weight]).detach()
        return sums

    def validate(self, encoder: Encoder, held_out: pd.DataFrame, aggregation: str) -> dict[str, float]:
        """Run `validate` on every process, in batches of the same size as in training."""

        def run() -> dict[str, float]:
            budget = max(1, self.training.batch_tokens // (self.parts * self.accelerator.num_processes))
            return validate(self.model, encoder, held_out, aggregation, budget)

        return self._within_memory(run, self.training.batch_tokens // self.accelerator.num_processes)

    def _within_memory(self, run: Callable[[], Result], most: int) -> Result:
        """Call `run`, and after each out-of-memory error call it again with twice the parts, up to `most`.

        With several processes, one process cannot repeat a step alone. So it ends with an error, and the next start of all
        processes uses twice the parts.

        Raises:
            PqmError: one tree at a time does not fit, or there are several processes.
        """
        while (result := fits(run)) is None:
            if self.parts >= most:
                raise PqmError(
                    "out of memory with one tree of solutions at a time; lower batch_tokens, use a larger device, or shard the"
                    " weights (FSDP)"
                )
            self.parts *= 2
            message = f"out of memory: each process now reads its trees of a step in {self.parts} parts"
            with formats.whole_file(self._parts_file) as part:
                part.write_text(str(self.parts))
            if self.accelerator.num_processes > 1:
                raise PqmError(f"{message}; run the same command again to resume from the last saved state")
            say(message)
        return result


@torch.no_grad()
def validate(model: nn.Module, encoder: Encoder, held_out: pd.DataFrame, aggregation: str, budget: int) -> dict[str, float]:
    """Validation metrics of a model: how well it ranks steps and solutions.

    `step_auc`: the probability that a step labelled 1 scores above one labelled 0. `solution_auc`: the same for right and wrong
    solutions of a question, averaged over the questions that have both; settings are chosen by it.

    Args:
        held_out: a label table.
        aggregation: how a solution's score is computed from its step scores.
        budget: tokens per batch.
    """
    model.eval()
    groups = [group for _, group in held_out.groupby("question_id", sort=True)]
    questions = [
        (
            [encoder(prompt, list(texts)) for prompt, texts in zip(group["prompt"], group["completions"])],
            encoder.length(group["prompt"].iloc[0], []),
        )
        for group in groups
    ]
    scores = iter(model(step_scores, build_prefix_trees(questions, budget)))
    steps, labels, by_question = [], [], []
    for group in groups:
        own = [next(scores) for _ in range(len(group))]
        steps += [score for one in own for score in one]
        labels += [label for one in group["labels"] for label in one]
        solutions = np.array([aggregate(one, aggregation) for one in own])
        by_question.append(area_under_curve(solutions, group["correct"].to_numpy()))
    return {
        "step_auc": area_under_curve(np.array(steps), np.array(labels) >= 0.5),
        "solution_auc": float(np.nanmean(by_question)) if not np.isnan(by_question).all() else float("nan"),
    }
