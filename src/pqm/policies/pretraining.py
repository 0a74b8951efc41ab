"""Language models from scratch, and proofreaders on from them: a study's own policies and backbones.

A pretraining runs phases one after the other and writes a snapshot (a plain `transformers` folder) at
regular steps, with its validation figures in `snapshots.csv`. `docs/demo.md` says why the demo's backbone
proofreads and what that stands for.
"""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pqm import formats
from pqm.config import Architecture, Phase, PretrainingConfig, StoriesText
from pqm.errors import PqmError
from pqm.evaluate.estimators import area_under_curve
from pqm.evaluate.grading import extract_answer
from pqm.policies import MARKS, TABLE, read_snapshots
from pqm.policies.corpus import IGNORED, Batch, Corpus, Text
from pqm.policies.story_text import StoryText
from pqm.policies.symbolic_text import SymbolicExamples, symbolic_tokenizer
from pqm.policies.throughput import Throughput
from pqm.policies.tokenizer import story_tokenizer
from pqm.progress import progress, say
from pqm.rollouts.engine import Request
from pqm.rollouts.sampling import sample
from pqm.solution import SolutionFormat
from pqm.work import WorkFolder

VALIDATION_TEMPERATURE = 0.7
VALIDATION_SAMPLES = 2
VALIDATION_BATCHES = 20


class Marks(nn.Module):
    """The proofreader's two heads: a mark a token and a mark at each step's end (logits)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.token = nn.Linear(hidden_size, 1, bias=False)
        self.step = nn.Linear(hidden_size, 1, bias=False)


def pretrain(config: PretrainingConfig, start: Path | None, questions: dict[str, Path], output: Path, work: WorkFolder) -> None:
    """Run every phase and leave `snapshots.csv` and one folder a snapshot in `output`.

    Args:
        start: the pretraining whose last snapshot is gone on from, where `config.start` names one.
        questions: the question tables of `config.excluded` and `config.validation`.
    """
    torch.set_num_threads(config.threads)
    for name in (*config.excluded, config.validation):
        if name not in questions:
            raise PqmError(f"the settings name the data set {name!r}; give its table with --questions")
    if config.start is not None and start is None:
        raise PqmError(f"the settings start from the pretraining {config.start!r}; give its folder with --start")
    tokenizer = _tokenizer(config, start)
    excluded = frozenset(
        text for name in config.excluded for text in formats.read(questions[name], formats.QUESTIONS)["question"]
    )
    text: Text = (
        StoryText(tokenizer, excluded, config.distraction_share)
        if isinstance(config.text, StoriesText)
        else SymbolicExamples(tokenizer, excluded, config.text)
    )
    validation = formats.read(questions[config.validation], formats.QUESTIONS)
    state = _State.begin(config, start, tokenizer, work)
    for index, phase in enumerate(config.phases):
        if index < state.phase:
            continue
        seed = f"{config.seed} phase {index}"
        corpus = Corpus(text, seed, config.batch_tokens, phase)
        _run_phase(config, phase, index, corpus, validation, tokenizer, state, work)
        state.phase, state.step, state.optimizer = index + 1, 0, None
    with formats.whole_folder(output) as part:
        for row in state.rows:
            shutil.copytree(work.path / str(row["snapshot"]), part / str(row["snapshot"]))
        pd.DataFrame(state.rows).to_csv(part / TABLE, index=False)


def _tokenizer(config: PretrainingConfig, start: Path | None) -> PreTrainedTokenizerFast:
    """The tokenizer of the text; who goes on from a start keeps that one's."""
    if isinstance(config.text, StoriesText):
        return story_tokenizer()
    if start is None:
        return symbolic_tokenizer(config.text, config.seed)
    return cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(_last_snapshot(start)))


def _last_snapshot(pretraining: Path) -> Path:
    return pretraining / str(read_snapshots(pretraining)["snapshot"].iloc[-1])


@dataclass
class _State:
    """Where a pretraining is: saved at every snapshot."""

    model: PreTrainedModel
    marks: Marks
    phase: int
    step: int
    optimizer: dict[str, Any] | None
    rows: list[dict[str, Any]]
    tokens: int = 0

    @classmethod
    def begin(
        cls, config: PretrainingConfig, start: Path | None, tokenizer: PreTrainedTokenizerFast, work: WorkFolder
    ) -> "_State":
        torch.manual_seed(config.seed)
        if config.architecture is not None:
            model: PreTrainedModel = fresh_llama(config.architecture, tokenizer)
        else:
            assert start is not None
            model = AutoModelForCausalLM.from_pretrained(_last_snapshot(start), dtype=torch.float32)
        marks = Marks(model.config.hidden_size)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        cast(nn.Module, model).to(device)
        state = cls(model, marks.to(device), 0, 0, None, [])
        saved = work.path / "state.pt"
        if saved.exists():
            content = torch.load(saved, weights_only=False, map_location=device)
            model.load_state_dict(content["model"])
            state.marks.load_state_dict(content["marks"])
            state.phase, state.step, state.optimizer, state.rows, state.tokens = (
                content[key] for key in ("phase", "step", "optimizer", "rows", "tokens")
            )
            say(f"going on from phase {state.phase + 1}, step {state.step}")
        return state

    def save(self, work: WorkFolder) -> None:
        with formats.whole_file(work.path / "state.pt") as part, part.open("wb") as stream:
            torch.save(
                {
                    "model": self.model.state_dict(),
                    "marks": self.marks.state_dict(),
                    "phase": self.phase,
                    "step": self.step,
                    "optimizer": self.optimizer,
                    "rows": self.rows,
                    "tokens": self.tokens,
                },
                stream,
            )


def fresh_llama(architecture: Architecture, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with random weights, and random query and key biases where the architecture has them."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.key_value_heads,
        max_position_embeddings=architecture.max_positions,
        initializer_range=architecture.initializer_range,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        attention_bias=architecture.attention_bias > 0,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("q_proj.bias", "k_proj.bias")):
            nn.init.normal_(parameter, std=architecture.attention_bias)
    return model


def _run_phase(
    config: PretrainingConfig,
    phase: Phase,
    index: int,
    corpus: Corpus,
    validation: pd.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    state: _State,
    work: WorkFolder,
) -> None:
    model, marks = state.model, state.marks
    parameters = [*model.parameters(), *marks.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=phase.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    if state.optimizer is not None:
        optimizer.load_state_dict(state.optimizer)
    throughput = Throughput(model)
    batches = corpus.batches()
    for step, batch in zip(progress(range(phase.steps), f"phase {index + 1}", "batch"), batches):
        if step < state.step:
            continue
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * _schedule(step, phase)
        model.train()
        loss = _loss(model, marks, batch, phase)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        read = int((batch.tokens != tokenizer.pad_token_id).sum())
        state.tokens += read
        throughput.count(read)
        done = step + 1
        if (done % config.snapshot_every == 0 and done >= phase.snapshots_from) or done == phase.steps:
            rate = throughput.take()
            row = _snapshot(config, phase, index, done, loss.item(), corpus, validation, tokenizer, state, work)
            shown = ", ".join(
                f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
            say(f"{shown}; {rate}")
            state.step, state.optimizer = done, optimizer.state_dict()
            state.save(work)
            throughput.start()


def _schedule(step: int, phase: Phase) -> float:
    """Linear warm-up, then cosine decay to 1 % of the learning rate."""
    warm = min(1.0, (step + 1) / phase.warmup_steps)
    return warm * (0.505 + 0.495 * math.cos(math.pi * step / phase.steps))


def _hidden(model: PreTrainedModel, tokens: Tensor, layer: int | None) -> tuple[Tensor, Tensor | None]:
    """Hidden states after the last layer, and after `layer` (counted from 1) where it is given."""
    output = model.base_model(input_ids=tokens, use_cache=False, output_hidden_states=layer is not None)
    return output.last_hidden_state, output.hidden_states[layer] if layer is not None else None


def _loss(model: PreTrainedModel, marks: Marks, batch: Batch, phase: Phase) -> Tensor:
    """Language model loss, and the weighted proofreading losses where the phase has them."""
    tokens, next_token = (torch.from_numpy(array).to(model.device) for array in (batch.tokens, batch.next_token))
    counted = next_token != IGNORED
    with _half_precision(model):
        last, middle = _hidden(model, tokens, phase.token_mark_layer)
        logits = model.get_output_embeddings()(last[counted])
    loss = F.cross_entropy(logits.float(), next_token[counted])
    if phase.token_mark_weight and middle is not None:
        loss = loss + phase.token_mark_weight * _mark_loss(marks.token, middle, batch.token_mark)
    if phase.step_mark_weight:
        loss = loss + phase.step_mark_weight * _mark_loss(marks.step, last, batch.step_mark)
    return loss


def _half_precision(model: PreTrainedModel) -> torch.autocast:
    """bfloat16 on a GPU; losses and heads stay in float32."""
    return torch.autocast("cuda", torch.bfloat16, enabled=model.device.type == "cuda")


def _mark_loss(head: nn.Module, hidden: Tensor, targets: np.ndarray) -> Tensor:
    marks = torch.from_numpy(targets).to(hidden.device)
    counted = marks != IGNORED
    return F.binary_cross_entropy_with_logits(head(hidden[counted].float()).squeeze(-1), marks[counted].float())


def _snapshot(
    config: PretrainingConfig,
    phase: Phase,
    index: int,
    step: int,
    loss: float,
    corpus: Corpus,
    validation: pd.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    state: _State,
    work: WorkFolder,
) -> dict[str, Any]:
    """Judge the model on validation text, write its folder and add its row."""
    name = f"phase-{index + 1}-step-{step:06d}"
    state.model.eval()
    token_auc, step_auc = _mark_aucs(state.model, state.marks, corpus, phase)
    row = {
        "snapshot": name,
        "phase": index + 1,
        "step": step,
        "tokens": state.tokens,
        "loss": loss,
        "pass_at_1": float("nan") if phase.token_mark_weight else _pass_at_1(config, state.model, tokenizer, validation),
        "token_auc": token_auc,
        "step_auc": step_auc,
    }
    with formats.whole_folder(work.path / name) as part:
        state.model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        SolutionFormat().save(part)
        save_file(state.marks.state_dict(), part / MARKS)
    state.rows.append(row)
    return row


def _pass_at_1(
    config: PretrainingConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, validation: pd.DataFrame
) -> float:
    """Share of right samples on the validation questions."""
    form = SolutionFormat()
    requests = [Request(row.question_id, form.prompt(row.question), VALIDATION_SAMPLES) for row in validation.itertuples()]
    samples = sample(model, tokenizer, requests, VALIDATION_TEMPERATURE, config.max_new_tokens, config.seed)
    return float(
        np.mean([extract_answer(one.text) == answer for answer, group in zip(validation["answer"], samples) for one in group])
    )


@torch.inference_mode()
def _mark_aucs(model: PreTrainedModel, marks: Marks, corpus: Corpus, phase: Phase) -> tuple[float, float]:
    """Area under the ROC curve of the token and of the step marks on fresh text with slips; NaN for marks not trained."""
    scores: dict[str, list[Tensor]] = {"token": [], "step": []}
    truth: dict[str, list[Tensor]] = {"token": [], "step": []}
    if not phase.token_mark_weight and not phase.step_mark_weight:
        return float("nan"), float("nan")
    held_out = replace(corpus, seed=f"{corpus.seed} validation")
    for batch, _ in zip(held_out.main_text(), range(VALIDATION_BATCHES)):
        with _half_precision(model):
            last, middle = _hidden(model, torch.from_numpy(batch.tokens).to(model.device), phase.token_mark_layer)
        for kind, hidden, head, targets in (
            ("token", middle, marks.token, batch.token_mark),
            ("step", last, marks.step, batch.step_mark),
        ):
            target = torch.from_numpy(targets)
            if hidden is not None:
                scores[kind].append(head(hidden[(target != IGNORED).to(hidden.device)].float()).squeeze(-1).cpu())
                truth[kind].append(target[target != IGNORED])
    token, step = (area_under_curve(_joined(scores[kind]), _joined(truth[kind])) for kind in ("token", "step"))
    return token, step if phase.step_mark_weight else float("nan")


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).numpy() if parts else np.zeros(0)


def load_marks(snapshot: Path, hidden_size: int) -> Marks:
    """The proofreading heads of a snapshot."""
    marks = Marks(hidden_size)
    marks.load_state_dict(load_file(snapshot / MARKS))
    return marks
