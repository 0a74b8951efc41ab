"""Pretraining of a study's own policies and backbones: language models, and models that continue from them to detect errors.

A pretraining runs its phases in order and writes a snapshot (a plain `transformers` folder) at regular steps, with its validation
metrics in `snapshots.csv`. `docs/demo.md` explains why the demo's backbone learns to detect errors.
"""

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from pqm.errors import PqmError
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.models.error_detection_heads import HEADS, ErrorDetectionHeads
from pqm.models.llama import fresh_llama
from pqm.models.placement import lower_states, use_threads
from pqm.models.rms_norm import use_fast_norms
from pqm.models.throughput import Throughput
from pqm.policies.pretraining_loss import pretraining_loss
from pqm.policies.pretraining_validation import head_aucs, pass_at_1
from pqm.policies.snapshots import read_snapshots
from pqm.problems.corpus import Corpus, TextSource
from pqm.problems.gsm_symbolic_text import SymbolicExamples, symbolic_tokenizer
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.problems.word_problem_text import WordProblemExamples
from pqm.progress import progress, say
from pqm.solution_format import SolutionFormat
from pqm.study.layout import SNAPSHOTS
from pqm.study.pretraining import Phase, PretrainingConfig, WordProblemText, snapshot_name
from pqm.study.settings import Precision


@dataclass
class _Progress:
    """The progress of a pretraining, saved with the weights at every snapshot."""

    phase: int = 0
    step: int = 0
    optimizer: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0


class Pretrainer:
    """Runs the phases of one pretraining.

    Args:
        start: the folder of `config.start`: a pretraining, of which the last snapshot is taken, or a backbone.
        questions: the question tables of `config.excluded` and `config.validation`, by name.
        cache: the cache for the training state, from which the same command resumes.
        precision: of the matrix products; weights, losses and heads are in float32.

    Raises:
        PqmError: a question table or the start is missing, or the start has another step separator.
    """

    def __init__(
        self,
        config: PretrainingConfig,
        start: Path | None,
        questions: dict[str, Path],
        cache: ShardCache,
        precision: Precision = "fp32",
    ) -> None:
        use_threads(config.threads)
        for name in (*config.excluded, config.validation):
            if name not in questions:
                raise PqmError(f"the settings need the data set {name!r}; pass its table with --questions")
        if config.start is not None and start is None:
            raise PqmError(f"the settings start from pretraining {config.start!r}; pass its folder with --start")
        self.config, self.cache, self.shares, self.precision = config, cache, config.snapshot_shares(), precision
        self.format = SolutionFormat(step_separator=config.step_separator, step_token=config.step_separator)
        if start is not None and (theirs := SolutionFormat.load(_first_weights(start))) != self.format:
            raise PqmError(f"step_separator is {config.step_separator!r}, but {config.start!r} has {theirs.step_separator!r}")
        self.tokenizer = _tokenizer(config, start)
        self.text = self._text_source(questions)
        self.validation = formats.read(questions[config.validation], formats.QUESTIONS)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.model = self._first_model(start)
        use_fast_norms(self.model)
        lower_states(self.model)
        self.heads = ErrorDetectionHeads(self.model.config.hidden_size)
        cast(nn.Module, self.model).to(self.device)
        self.heads.to(self.device)
        self.progress = _Progress()

    def _text_source(self, questions: dict[str, Path]) -> TextSource:
        config = self.config
        excluded = frozenset(
            text for name in config.excluded for text in formats.read(questions[name], formats.QUESTIONS)["question"]
        )
        if isinstance(config.text, WordProblemText):
            return WordProblemExamples(self.tokenizer, excluded, config.distraction_share, config.step_separator)
        return SymbolicExamples(self.tokenizer, excluded, config.text, config.step_separator)

    def _first_model(self, start: Path | None) -> PreTrainedModel:
        if self.config.architecture is not None:
            return fresh_llama(self.config.architecture, self.tokenizer)
        assert start is not None
        return cast(PreTrainedModel, AutoModelForCausalLM.from_pretrained(_first_weights(start), dtype=torch.float32))

    def pretrain(self, output: Path) -> None:
        """Run all phases, and write `snapshots.csv` and one folder per snapshot to `output`."""
        self._resume()
        for index, phase in enumerate(self.config.phases):
            if index >= self.progress.phase:
                self._run(index, phase)
                self.progress.phase, self.progress.step, self.progress.optimizer = index + 1, 0, None
        with formats.whole_folder(output) as part:
            for row in self.progress.rows:
                shutil.copytree(self.cache.path / str(row["snapshot"]), part / str(row["snapshot"]))
            pd.DataFrame(self.progress.rows).to_csv(part / SNAPSHOTS, index=False)

    def _run(self, index: int, phase: Phase) -> None:
        """Run one phase, or the rest of it after an interruption."""
        config = self.config
        corpus = Corpus(self.text, f"{config.seed} phase {index}", config.batch_tokens, phase, config.text_workers)
        parameters = [*self.model.parameters(), *self.heads.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=phase.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        if self.progress.optimizer is not None:
            optimizer.load_state_dict(self.progress.optimizer)
        throughput = Throughput(self.model)
        for step, batch in zip(progress(range(phase.steps), f"phase {index + 1}", "batch"), corpus.batches()):
            if step < self.progress.step:
                continue
            for group in optimizer.param_groups:
                group["lr"] = phase.learning_rate * learning_rate_factor(step, phase)
            self.model.train()
            loss = pretraining_loss(self.model, self.heads, batch, phase, self.precision)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            read = int((batch.tokens != self.tokenizer.pad_token_id).sum())
            self.progress.tokens += read
            throughput.count(read)
            done = step + 1
            if snapshot_name(index + 1, done) in self.shares:
                rate = throughput.take()
                self.progress.step, self.progress.optimizer = done, optimizer.state_dict()
                row = self._snapshot(index, phase, loss.item(), corpus)
                shown = (f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
                say(f"{', '.join(shown)}; {rate}")
                self._save()
                throughput.start()

    def _snapshot(self, index: int, phase: Phase, loss: float, corpus: Corpus) -> dict[str, Any]:
        """Validate the model, write its folder and return its row of `snapshots.csv`."""
        name = snapshot_name(index + 1, self.progress.step)
        self.model.eval()
        token_auc, step_auc = head_aucs(self.model, self.heads, corpus, self.precision)
        sampled = float("nan")
        if not phase.token_head_weight:
            sampled = pass_at_1(self.model, self.tokenizer, self.validation, self.config.max_new_tokens, self.config.seed)
        row = {
            "snapshot": name,
            "phase": index + 1,
            "step": self.progress.step,
            "share": self.shares[name],
            "tokens": self.progress.tokens,
            "loss": loss,
            "pass_at_1": sampled,
            "token_auc": token_auc,
            "step_auc": step_auc,
        }
        with formats.whole_folder(self.cache.path / name) as part:
            self.model.save_pretrained(part)
            self.tokenizer.save_pretrained(part)
            self.format.save(part)
            save_file(self.heads.state_dict(), part / HEADS)
        self.progress.rows.append(row)
        return row

    def _save(self) -> None:
        content = {"model": self.model.state_dict(), "heads": self.heads.state_dict()} | vars(self.progress)
        with formats.whole_file(self.cache.path / "state.pt") as part, part.open("wb") as stream:
            torch.save(content, stream)

    def _resume(self) -> None:
        saved = self.cache.path / "state.pt"
        if saved.exists():
            content = torch.load(saved, weights_only=False, map_location=self.device)
            self.model.load_state_dict(content.pop("model"))
            self.heads.load_state_dict(content.pop("heads"))
            self.progress = _Progress(**content)
            say(f"continuing from phase {self.progress.phase + 1}, step {self.progress.step}")


def _tokenizer(config: PretrainingConfig, start: Path | None) -> PreTrainedTokenizerFast:
    """The tokenizer of the text; a model that is trained further keeps its own."""
    if start is not None:
        return cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(_first_weights(start)))
    if isinstance(config.text, WordProblemText):
        return word_problem_tokenizer(config.step_separator)
    return symbolic_tokenizer(config.text, config.seed, config.step_separator)


def _first_weights(start: Path) -> Path:
    """The `transformers` folder that a pretraining starts from: the last snapshot of another, or a backbone's model."""
    if (start / SNAPSHOTS).exists():
        return start / str(read_snapshots(start)["snapshot"].iloc[-1])
    return start / "model"


def learning_rate_factor(step: int, phase: Phase) -> float:
    """Linear warm-up, then cosine decay to the phase's share of the learning rate."""
    warm, low = min(1.0, (step + 1) / phase.warmup_steps), phase.decay_to
    return warm * ((1 + low) / 2 + (1 - low) / 2 * math.cos(math.pi * step / phase.steps))
