"""Scoring the samples of one prompt: prefix trees against the authors' loop, the body of the model alone, and padded batches.

python benchmarks/scoring.py
"""

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bench
import inputs
import torch
from bench import Row
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM, Qwen2ForTokenClassification

from pqm.models.encoded import Encoded
from pqm.models.prefix_trees import build_prefix_trees, step_scores
from pqm.models.reward_model import Encoder, load_reward_model
from pqm.models.step_head import head

SAMPLES = (48, 128)
BATCH = 16  # rows of a padded batch
BUDGET = 1024  # tokens of a batch of prefix trees, as in the demo
PROMPT = 150  # tokens
Scores = list[list[float]]


@dataclass(frozen=True)
class Case:
    """Solutions of one prompt, a reward model, and a language model with the same body, whose logits the authors' loop computes.

    Attributes:
        goal: of the ratio to the authors' loop.
    """

    name: str
    note: str
    model: PreTrainedModel
    language_model: PreTrainedModel
    solutions: Sequence[Encoded]
    repeats: int
    goal: str

    def authors_loop(self) -> Scores:
        """One solution at a time, with the logits of every token, as `value_model.py` of the authors does it."""
        found = []
        for one in self.solutions:
            output = self.language_model(input_ids=torch.tensor([one.tokens]), output_hidden_states=True)
            found.append(self._at_ends(output.hidden_states[-1], one))
        return found

    def body_only(self) -> Scores:
        """One solution at a time, the head on the hidden states, without logits."""
        return [
            self._at_ends(self.model.base_model(input_ids=torch.tensor([one.tokens])).last_hidden_state, one)
            for one in self.solutions
        ]

    def _at_ends(self, hidden: Tensor, one: Encoded) -> list[float]:
        return head(self.model)(hidden[0])[list(one.step_ends), 0].tolist()

    def padded(self) -> Scores:
        """Padded batches of solutions that are sorted by length."""
        order = sorted(range(len(self.solutions)), key=lambda place: len(self.solutions[place].tokens))
        found: Scores = [[] for _ in order]
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            rows = [self.solutions[place] for place in places]
            tokens, ends = _filled([one.tokens for one in rows]), _filled([one.step_ends for one in rows])
            hidden = self.model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
            at_ends = hidden.gather(1, ends.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
            for place, one, scores in zip(places, rows, head(self.model)(at_ends).squeeze(-1).tolist()):
                found[place] = scores[: len(one.step_ends)]
        return found

    def trees(self) -> Scores:
        """The package's way: prefix trees, which are built here too."""
        return step_scores(self.model, build_prefix_trees([(self.solutions, PROMPT)], BUDGET))


def _filled(rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def samples(count: int, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[Encoded], str]:
    """A reward model of the demo's shape, and samples of one of its questions after worked examples: a prompt of 150 tokens."""
    question, steps, source = inputs.demo_samples(count)
    inputs.checkpoint(inputs.language_model(folder / "backbone"), folder / "reward")
    model, tokenizer, solution_format = load_reward_model(folder / "reward")
    encode = Encoder(tokenizer, solution_format)
    examples = [encode(row.question, list(row.solution)).tokens for row in inputs.questions(8).itertuples()]
    before = tuple(token for example in examples for token in example)[-(PROMPT - encode.length(question, [])) :]
    alone = [encode(question, one) for one in steps]
    solutions = [Encoded(before + one.tokens, tuple(len(before) + end for end in one.step_ends)) for one in alone]
    return model, tokenizer, solutions, f"{len(solutions)} {source}, {len(set(solutions))} distinct"


def cases(count: int, folder: Path) -> list[Case]:
    """The samples, read by models with random weights of two shapes: the demo's, and Qwen2's with its vocabulary."""
    model, tokenizer, solutions, source = samples(count, folder)
    tiny = inputs.fresh_llama(inputs.architecture(), tokenizer).eval()
    shape = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=151_936, **shape, **heads, num_labels=1)
    qwen, language_model = Qwen2ForTokenClassification(config).eval(), Qwen2ForCausalLM(config).eval()
    tiny.model, language_model.model = model.base_model, qwen.base_model
    note = f"{source}; prompt of {PROMPT} tokens"
    demo, own = f"{count} solutions, the demo's shape", f"{note}; width 96, 6 layers, 97 words"
    peer, theirs = f"{count} solutions, Qwen2 shape", f"{note}; width 256, 4 layers, 151,936 words; one run"
    return [
        Case(demo, own, model, tiny, solutions, repeats=3, goal=""),
        Case(peer, theirs, qwen, language_model, solutions, repeats=1, goal=">= 8"),
    ]


@torch.inference_mode()
def compare(case: Case) -> list[Row]:
    """Solutions per CPU second of each way beside that of prefix trees, the largest difference of a score, and memory."""
    ways: dict[str, Callable[[], Scores]] = {
        "the authors' loop": case.authors_loop,
        "the body alone, one solution at a time": case.body_only,
        f"the body alone, padded batches of {BATCH} sorted by length": case.padded,
        "prefix trees": case.trees,
    }
    ways["prefix trees"]()  # warms up
    scores, memory = {}, []
    for name, run in ways.items():
        memory.append(_peak(lambda name=name, run=run: scores.update({name: run()})) / 2**20)
    right = [score for one in scores["the authors' loop"] for score in one]
    farthest = {
        name: max(abs(a - b) for a, b in zip(right, (score for one in found for score in one), strict=True))
        for name, found in scores.items()
    }
    rates = [len(case.solutions) / seconds for seconds in bench.cpu_seconds(*ways.values(), repeats=case.repeats)]
    note = f"{case.note}; {bench.versions('torch', 'transformers')}"
    row = partial(Row, "scoring")
    others = ", ".join(f"{name} {size:,.0f}" for name, size in zip(ways, memory[:-1]))
    saved = memory[0] / memory[-1]
    return [
        *(
            row(f"{case.name}: prefix trees against {name}", rates[-1], rate, "solutions/CPU-s", rates[-1] / rate, goal, note)
            for name, rate, goal in zip(ways, rates[:-1], (case.goal, "", ""))
        ),
        row(f"{case.name}: largest difference of a score", farthest["prefix trees"], unit="logit", goal="<= 1e-05"),
        row(f"{case.name}: peak memory beyond the model", memory[-1], memory[0], "MB", saved, note=others),
    ]


def _peak(run: Callable[[], object]) -> int:
    """Peak memory of a call. Freed memory is returned to the system first, or it would be used again without being counted."""
    ctypes.CDLL(None).malloc_trim(0)
    return bench.peak_memory(run)


def measure() -> list[Row]:
    """Rows of 48 and 128 samples, for two shapes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for count in SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            rows += [row for case in cases(count, Path(folder)) for row in compare(case)]
    return rows


if __name__ == "__main__":
    bench.main(measure)
