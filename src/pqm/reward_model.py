"""A reward model: a language model's body with one bias-free score a token, read where a step ends.

It is `AutoModelForTokenClassification` with one label, so a checkpoint loads with plain `transformers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from pqm.errors import PqmError
from pqm.solution import SolutionFormat


@dataclass(frozen=True)
class Encoded:
    """A solution's tokens, and the position of each step's end."""

    tokens: tuple[int, ...]
    step_ends: tuple[int, ...]


class Encoder:
    """Turns questions and steps into tokens, piece by piece, so that a step's tokens do not depend on its neighbours.

    Raises:
        PqmError: the tokenizer splits the step token, so no single position closes a step.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, form: SolutionFormat) -> None:
        self._tokenizer, self._form = tokenizer, form
        self._pieces: dict[str, list[int]] = {}
        closing = self._encode(form.step_token)
        if closing == [tokenizer.unk_token_id] and form.step_token != tokenizer.unk_token:
            raise PqmError(f"the tokenizer does not know the step token {form.step_token!r}")
        if len(closing) != 1:
            raise PqmError(f"the tokenizer splits the step token {form.step_token!r} into {len(closing)}; expected one token")

    def _encode(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
        return self._pieces[text]

    def __call__(self, question: str, steps: Sequence[str]) -> Encoded:
        """The tokens of a solution up to and with its last scored position."""
        tokens, ends = list(self._encode(self._form.prompt(question))), []
        for index, step in enumerate(steps):
            if index:
                tokens += self._encode(self._form.between_steps)
            tokens += self._encode(step) + self._encode(self._form.step_token)
            ends.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(ends))


def reward_model(backbone: Path, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The backbone with a fresh head drawn from `seed`."""
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(backbone, num_labels=1)
    config.token_classification_bias, config.classifier_dropout = False, 0.0
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # that the head is fresh is meant, no news
    model = AutoModelForTokenClassification.from_pretrained(backbone, config=config, dtype=torch.float32)
    logging.set_verbosity(level)
    return model, AutoTokenizer.from_pretrained(backbone)


def head(model: PreTrainedModel) -> nn.Linear:
    """The score head."""
    return cast(nn.Linear, model.score)


def place(model: PreTrainedModel) -> PreTrainedModel:
    """The model on the GPU where there is one, for inference."""
    module: nn.Module = model
    module.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval()


def load_reward_model(checkpoint: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SolutionFormat]:
    """A trained reward model, its tokenizer and its solution format.

    Raises:
        PqmError: the checkpoint is no reward model, or has no solution format.
    """
    form = SolutionFormat.load(checkpoint)
    model = _whole(
        AutoModelForTokenClassification, checkpoint, "expected a reward model; a language model is scored by --kind likelihood"
    )
    return model, AutoTokenizer.from_pretrained(checkpoint), form


def load_language_model(checkpoint: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SolutionFormat]:
    """A language model, its tokenizer and its solution format."""
    form = SolutionFormat.load(checkpoint)
    model = _whole(AutoModelForCausalLM, checkpoint, "expected a language model; a reward model is scored by --kind reward")
    return model, AutoTokenizer.from_pretrained(checkpoint), form


def _whole(kind: Any, checkpoint: Path, expected: str) -> PreTrainedModel:
    """The checkpoint as this kind of model, refused where it lacks a weight: a head drawn at random would score in silence."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    model, report = kind.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    logging.set_verbosity(level)
    if report["missing_keys"]:
        raise PqmError(f"{checkpoint}: has no weights {min(report['missing_keys'])!r}; {expected}")
    return cast(PreTrainedModel, model.eval())


def save_reward_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: SolutionFormat,
    folder: Path,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write safetensors, tokenizer and solution format; `weights` are the model's where its own are spread over processes."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    form.save(folder)
