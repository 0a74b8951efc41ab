"""Work of the models on a GPU: its speed beside plain `transformers`, and its share of what the card allows.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --tiny

It needs only torch and transformers, and takes less than two minutes. The model has the shape of SmolLM2-135M and random weights.
It also checks that our way and the plain one agree. `--tiny` runs a small model on any machine, to test this file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import bench
import numpy as np
import torch
from bench import Row
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification, PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from pqm.losses.common.steps import IGNORED, counted
from pqm.models.encoded import Encoded
from pqm.models.placement import convert, lower_states, mixed
from pqm.models.prefix_trees import build_prefix_trees, step_scores
from pqm.models.rms_norm import use_fast_norms
from pqm.models.sampling.pool import Pool
from pqm.models.throughput import matrix_rate
from pqm.policies.pretraining_loss import pretraining_loss
from pqm.problems.corpus import TextBatch
from pqm.train.data import TrainingExample, batches, collate, labelled_trees, scores_of

if TYPE_CHECKING:
    from pqm.study.settings import Precision

Found = tuple[float, Tensor]
Step = Callable[[], None] | None

BYTES, COPIES = 2**29, 10


@dataclass(frozen=True)
class Size:
    """How much work.

    Attributes:
        shape: of the model.
        prompt, step: least and most tokens.
        rows: samples at once, and twice as many in all.
        samples: of each question.
        new: tokens of a sample.
        generated: tokens of each row of plain `generate`, which has as many rows, and of `generate_batch`, which has fewer.
        questions: that are scored and trained on.
        compared: questions whose losses, gradients and scores are compared with those in float32.
        steps: of a solution.
        batch: tokens of a batch when scoring, and when training a reward model.
        text_batch: tokens of a batch when training the language model, whose logits need memory.
        greedy: prompts and tokens that are compared.
    """

    shape: dict[str, int]
    prompt: tuple[int, int]
    step: tuple[int, int]
    rows: int
    samples: int
    new: int
    generated: int
    questions: int
    compared: int
    steps: int
    batch: int
    text_batch: int
    greedy: tuple[int, int]


SMOLLM2 = Size(
    shape={"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
           "num_key_value_heads": 3, "vocab_size": 49_152},
    prompt=(60, 140), step=(10, 40), rows=4096, samples=64, new=200, generated=25, questions=24, compared=2, steps=6,
    batch=65_536, text_batch=32_768, greedy=(64, 16),
)  # fmt: skip
TINY = Size(
    shape={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "vocab_size": 600},
    prompt=(6, 14), step=(2, 5), rows=32, samples=4, new=8, generated=6, questions=3, compared=2, steps=3,
    batch=400, text_batch=400, greedy=(8, 6),
)  # fmt: skip


def config(size: Size, **more: object) -> LlamaConfig:
    """The model's settings."""
    return LlamaConfig(
        **size.shape, max_position_embeddings=2048, tie_word_embeddings=True, initializer_range=0.04, use_cache=False, **more
    )


class Bench:
    """All measurements on one device."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.random = np.random.default_rng(0)
        torch.manual_seed(0)
        self.plain_policy = LlamaForCausalLM(config(size)).to(device).eval()
        self.plain_reward = LlamaForTokenClassification(config(size, num_labels=1, classifier_dropout=0.0)).to(device).eval()
        self.policy, self.reward = prepared(self.plain_policy), prepared(self.plain_reward)
        self.weights = sum(one.numel() for one in self.policy.parameters())
        self.body = self.weights - size.shape["vocab_size"] * size.shape["hidden_size"]  # what a reward model multiplies
        self.questions = [self._text(size.prompt) for _ in range(size.questions)]
        self.examples = [self._example(question) for question in self.questions for _ in range(size.samples)]
        on_gpu = device.type == "cuda"
        self.precision: Precision = "bf16" if on_gpu else "fp32"
        self.rate, self.bandwidth = (matrix_rate(device), bandwidth(device)) if on_gpu else (float("nan"), float("nan"))

    def _text(self, tokens: tuple[int, int]) -> tuple[int, ...]:
        length = int(self.random.integers(tokens[0], tokens[1] + 1))
        return tuple(self.random.integers(3, self.size.shape["vocab_size"], length).tolist())

    def _example(self, question: tuple[int, ...]) -> TrainingExample:
        tokens, ends = list(question), []
        for _ in range(self.size.steps):
            tokens += self._text(self.size.step)
            ends.append(len(tokens) - 1)
        labels = tuple(float(label) for label in self.random.random(len(ends)) < 0.7)
        return TrainingExample(str(question), Encoded(tuple(tokens), tuple(ends)), labels)

    # ------------------------------------------------------------ clocks

    def seconds(self, run: Callable[[], object]) -> float:
        """Wall-clock seconds of a call."""
        self._wait()
        begin = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - begin

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def lowered(self, *models: PreTrainedModel):  # type: ignore[no-untyped-def]
        """Models in bfloat16, but for the head of a reward model."""
        with ExitStack() as stack:
            for model in models:
                stack.callback(model.load_state_dict, {name: value.clone() for name, value in model.state_dict().items()})
                stack.callback(model.float)
                convert(model, "bf16")
                if hasattr(model, "score"):
                    model.score.float()
            yield

    # ------------------------------------------------------------ sampling

    def sampled(self, prompts: list[tuple[int, ...]], samples: int, rows: int, new: int, temperature: float) -> list[list[int]]:
        """The samples of our sampler, in order. Each has random numbers of its own."""
        length = max(map(len, prompts)) + new
        pool = Pool(self.policy, rows, length, new, temperature, end=-1)  # no sample ends early
        waiting = [(index, number) for index in range(len(prompts)) for number in range(samples)][::-1]
        found: dict[tuple[int, int], list[int]] = {}
        with torch.inference_mode():
            while waiting or pool.owners:
                if waiting and pool.free >= min(len(waiting), max(1, rows // 8)):
                    owners = [waiting.pop() for _ in range(min(pool.free, len(waiting)))]
                    noise = np.stack([np.random.default_rng(owner).random(new) for owner in owners])
                    pool.admit([prompts[index] for index, _ in owners], owners, noise)
                pool.step()
                for one in pool.look():
                    found[one.owner] = one.tokens
        pool.close()
        return [found[index, number] for index in range(len(prompts)) for number in range(samples)]

    def generated(self, prompts: list[tuple[int, ...]], new: int, sample: bool) -> Tensor:
        """What plain `generate` writes, shape [prompts, new]."""
        width = max(map(len, prompts))
        tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=self.device)
        seen = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.device)
        settings = GenerationConfig(
            do_sample=sample, max_new_tokens=new, min_new_tokens=new, pad_token_id=0, eos_token_id=0, use_cache=True,
            **({"temperature": 0.7, "top_k": 0} if sample else {}),
        )  # fmt: skip
        return self.plain_policy.generate(tokens, attention_mask=seen, generation_config=settings)[:, width:]

    def greedy(self) -> list[Row]:
        """Greedy samples in float32."""
        prompts, new = self.size.greedy
        texts = [self._text(self.size.prompt) for _ in range(prompts)]
        ours = self.sampled(texts, 1, max(1, prompts // 2), new, temperature=1e-5)
        theirs = self.generated(texts, new, sample=False).tolist()
        same = sum(one == other[: len(one)] for one, other in zip(ours, theirs))
        what = "greedy samples in float32 that are those of generate"
        return [Row("gpu", what, same, prompts, "prompts", same / prompts, ">= 1")]

    def sampling(self) -> list[Row]:
        """Tokens per second of our sampler, of `generate` and of `generate_batch`."""
        size = self.size
        prompts = [self._text(size.prompt) for _ in range(2 * size.rows // size.samples)]
        with self.lowered(self.policy, self.plain_policy):
            self.sampled(prompts, size.samples, size.rows, 2, 0.7)  # warms up
            ours = 2 * size.rows * size.new / self.seconds(lambda: self.sampled(prompts, size.samples, size.rows, size.new, 0.7))
            same = self._same_in_other_pools(prompts)
            some = (prompts * size.rows)[: size.rows]
            self.generated(some[:2], 4, sample=True)
            plain = size.rows * size.generated / self.seconds(lambda: self.generated(some, size.generated, sample=True))
        width = float(np.mean([len(prompt) for prompt in prompts])) + size.new / 2
        shape = size.shape
        cache = (
            4 * shape["num_hidden_layers"] * shape["num_key_value_heads"] * shape["hidden_size"] // shape["num_attention_heads"]
        )
        per_step = 2 * self.weights + size.rows * width * cache
        limit = size.rows * self.bandwidth / per_step
        note = (
            f"bf16; {size.rows:,} rows twice, {size.new} tokens each, and {size.generated} by generate; weights and cache read once per"
            f" step allow {limit:,.0f} tokens/s"
        )
        return [
            row("sampling, beside generate", ours, plain, f">= {1:g}", note),
            row("sampling", ours, None, ">= 300000", ""),
            Row(
                "gpu",
                "samples in bf16 that are the same in a pool of other samples",
                same,
                unit="%",
                note="their first 50 tokens",
            ),
            *self._share("sampling", ours / limit),
        ]

    def _same_in_other_pools(self, prompts: list[tuple[int, ...]]) -> float:
        """The percentage of samples that are the same with four times as many samples in the pool."""
        few, new = prompts[: max(1, len(prompts) // 8)], min(50, self.size.new)
        alone = self.sampled(few, self.size.samples, len(few) * self.size.samples, new, 0.7)
        among = self.sampled(few + prompts[-3 * len(few) :], self.size.samples, 4 * len(few) * self.size.samples, new, 0.7)
        return 100 * sum(map(list.__eq__, alone, among)) / len(alone)

    def continuous(self) -> list[Row]:
        """Tokens per second of our sampler and of `generate_batch` with paged attention."""
        size, prompts = self.size, [self._text(self.size.prompt) for _ in range(max(1, self.size.rows // self.size.samples // 4))]
        some, new = [list(prompt) for prompt in prompts for _ in range(size.samples)], size.generated
        with self.lowered(self.policy, self.plain_policy):
            ours = len(some) * new / self.seconds(lambda: self.sampled(prompts, size.samples, len(some), new, 0.7))
            theirs = self._paged(some, new) if self.device.type == "cuda" else None
        note = f"bf16; {len(some):,} samples of {new} tokens; it draws all requests from one random stream"
        return [row("sampling, beside generate_batch", ours, theirs, "", note)]

    def _paged(self, prompts: list[list[int]], new: int) -> float | None:
        settings = GenerationConfig(
            do_sample=True, temperature=0.7, top_k=0, max_new_tokens=new, eos_token_id=-1, pad_token_id=0,
        )  # fmt: skip
        for _ in range(2):  # the first time it warms up
            begin = time.perf_counter()
            made = self.plain_policy.generate_batch(prompts, generation_config=settings, persistent_manager=True)
            taken = time.perf_counter() - begin
        self.plain_policy.destroy_cached_continuous_batching_manager()
        written = sum(len(one.generated_tokens) for one in made.values())
        assert written == len(prompts) * new, f"{written:,} tokens of {len(made):,} requests came back"
        return written / taken

    # ------------------------------------------------------------ reward models

    def scores(self, examples: list[TrainingExample], budget: int) -> list[list[float]]:
        """The step scores of solutions by prefix trees."""
        samples = self.size.samples
        questions = [
            ([one.encoded for one in examples[start : start + samples]], len(self.questions[start // samples]))
            for start in range(0, len(examples), samples)
        ]
        return step_scores(self.reward, build_prefix_trees(questions, budget))

    @torch.inference_mode()
    def plain_scores(self, examples: list[TrainingExample], budget: int) -> list[list[float]]:
        """The same by padded rows, sorted by length."""
        found: list[list[float]] = [[] for _ in examples]
        for places in by_length(examples, budget):
            tokens, ends, _ = self._padded([examples[place] for place in places])
            hidden = self.plain_reward.base_model(input_ids=tokens).last_hidden_state
            values = self.plain_reward.score(at(hidden, ends).float()).squeeze(-1).tolist()
            for place, row_of in zip(places, values):
                found[place] = row_of
        return found

    def _padded(self, rows: list[TrainingExample]) -> tuple[Tensor, Tensor, Tensor]:
        width = max(len(one.encoded.tokens) for one in rows)
        tokens = torch.tensor([[*one.encoded.tokens, *[0] * (width - len(one.encoded.tokens))] for one in rows])
        ends = torch.tensor([one.encoded.step_ends for one in rows])
        labels = torch.tensor([one.labels for one in rows])
        return tokens.to(self.device), ends.to(self.device), labels.to(self.device)

    def scoring(self) -> list[Row]:
        """Real tokens per second of both ways, each with its best batch size, and how far they are from float32."""
        size, some = self.size, self.examples[: self.size.compared * self.size.samples]
        exact = self.scores(some, size.batch)
        with self.lowered(self.reward, self.plain_reward):
            ours, plain = self.scores(some, size.batch), self.plain_scores(some, size.batch)
            small = self.plain_scores(some, size.batch // 4)
            trees, rows = (
                max(self._rate(partial(way, self.examples, budget)) for budget in (size.batch, size.batch // 4))
                for way in (self.scores, self.plain_scores)
            )
        note = f"rows in batches of two sizes differ by {apart(plain, small):.2g}"
        return [
            Row("gpu", "scores in bf16, largest distance from float32: trees beside plain rows", apart(ours, exact),
                apart(plain, exact), "logits", None, "", note),
            row("scoring, prefix trees beside plain rows", trees, rows, "",
                f"bf16; {len(self.examples):,} solutions, {size.samples} per question; real tokens"),
            row("scoring", trees, None, ">= 600000", ""),
            *self._share("scoring", trees * self._merged() * 2 * self.body / self.rate),
        ]  # fmt: skip

    def _rate(self, run: Callable[[], object]) -> float:
        """Real tokens per second of a call that reads all solutions."""
        return sum(len(one.encoded.tokens) for one in self.examples) / self.seconds(run)

    def _merged(self) -> float:
        """The share of the solutions' tokens that prefix trees read."""
        trees = labelled_trees(self.examples, self.size.batch)
        return sum(len(one.tree.tokens) for one in trees) / sum(one.size for one in trees)

    def tree_loss(self, examples: list[TrainingExample], budget: int, precision: Precision, step: Step = None) -> float:
        """The mean loss of solutions on prefix trees, with gradients; `step` follows each batch."""
        total = 0.0
        for batch in batches(labelled_trees(examples, budget), budget, np.random.default_rng(0)):
            labelled = collate(batch)
            with mixed(self.reward, precision):
                scores = scores_of(self.reward, labelled)
            total += backward(scores, labelled.labels.to(self.device), len(examples), step)
        return total

    def plain_loss(self, examples: list[TrainingExample], budget: int, precision: Precision, step: Step = None) -> float:
        """The same by a plain loop over padded rows."""
        total = 0.0
        for places in by_length(examples, budget):
            tokens, ends, labels = self._padded([examples[place] for place in places])
            with mixed(self.plain_reward, precision):
                hidden = self.plain_reward.base_model(input_ids=tokens).last_hidden_state
                scores = self.plain_reward.score(at(hidden, ends)).squeeze(-1)
            total += backward(scores, labels, len(examples), step)
        return total

    def training(self) -> list[Row]:
        """Real tokens per second of training a reward model, and how far losses and gradients are from float32."""
        size, precision = self.size, self.precision
        some, ways = (
            self.examples[: size.compared * size.samples],
            ((self.tree_loss, self.reward), (self.plain_loss, self.plain_reward)),
        )
        exact = gradients(self.plain_reward, partial(self.plain_loss, some, size.batch // 4, "fp32"))
        ours, plain = (gradients(model, partial(way, some, size.batch, precision)) for way, model in ways)
        small = gradients(self.plain_reward, partial(self.plain_loss, some, size.batch // 4, precision))
        norm = exact[1].norm()
        speeds = []
        for way, model in ways:
            run = partial(way, self.examples, size.batch, precision, stepping(model))
            run()  # warms up
            speeds.append(self._rate(run))
        trees, rows = speeds

        def distance(one: Found, other: Found) -> float:
            return float((one[1] - other[1]).norm() / norm)

        return [
            Row("gpu", "loss in mixed precision, distance from float32: trees beside plain rows", abs(ours[0] - exact[0]),
                abs(plain[0] - exact[0]), "", None, "",
                f"loss {exact[0]:.4f}; rows in batches of two sizes differ by {abs(plain[0] - small[0]):.2g}"),
            Row("gpu", "gradient in mixed precision, distance from float32: trees beside plain rows", distance(ours, exact),
                distance(plain, exact), "of the norm", None, "", f"rows in batches of two sizes differ by {distance(plain, small):.2g}"),
            row("training a reward model, prefix trees beside plain rows", trees, rows, "", "real tokens; mixed precision"),
            row("training a reward model", trees, None, ">= 200000", ""),
            *self._share("training a reward model", trees * self._merged() * 6 * self.body / self.rate),
        ]  # fmt: skip

    # ------------------------------------------------------------ the language model

    def texts(self) -> list[TextBatch]:
        """Batches of rows of similar length for the language model, as pretraining makes them."""
        made = []
        for places in by_length(self.examples, self.size.text_batch):
            tokens, _, _ = (one.cpu().numpy() for one in self._padded([self.examples[place] for place in places]))
            following = np.full(tokens.shape, IGNORED)
            for row_of, place in enumerate(places):
                length = len(self.examples[place].encoded.tokens)
                following[row_of, : length - 1] = tokens[row_of, 1:length]
            empty = np.full(tokens.shape, IGNORED)
            made.append(TextBatch(tokens, following, empty, empty))
        return made

    def fine_tuning(self) -> list[Row]:
        """Real tokens per second of training the language model."""
        texts, phase = self.texts(), NoHeads()

        def epoch(model: PreTrainedModel, step: Callable[[], None]) -> None:
            for batch in texts:
                pretraining_loss(model, None, batch, phase, self.precision).backward()  # type: ignore[arg-type]
                step()

        speeds = []
        for model in (self.policy, self.plain_policy):
            run = partial(epoch, model, stepping(model))
            run()  # warms up
            speeds.append(self._rate(run))
        ours, plain = speeds
        return [
            row("fine-tuning, beside plain layers", ours, plain, "", f"real tokens; mixed precision; {len(texts)} steps"),
            row("fine-tuning", ours, None, ">= 200000", ""),
            *self._share("fine-tuning", ours * 6 * self.weights / self.rate),
        ]

    def _share(self, what: str, share: float) -> list[Row]:
        """A row with the share of what the card allows for the tokens that are computed."""
        if self.device.type != "cuda":
            return []
        return [Row("gpu", f"{what}: share of the bound", 100 * share, unit="%", note="")]

    def card(self) -> list[Row]:
        """The card and its measured limits."""
        if self.device.type != "cuda":
            return []
        name = torch.cuda.get_device_name(self.device)
        return [
            Row("gpu", "large matrix products in bf16", self.rate / 1e12, unit="TFLOP/s", note=name),
            Row("gpu", "copies within memory", self.bandwidth / 1e12, unit="TB/s", note=name),
        ]


class NoHeads:
    """A phase of a pretraining that trains the language model only."""

    token_head_weight = step_head_weight = 0.0
    token_head_layer = None


def prepared(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model with our faster layers."""
    ours = deepcopy(model)
    use_fast_norms(ours)
    lower_states(ours)
    return ours


def by_length(examples: list[TrainingExample], budget: int) -> list[list[int]]:
    """The places of solutions of similar length, padded to at most `budget` tokens per batch."""
    groups: list[list[int]] = [[]]
    for place in sorted(range(len(examples)), key=lambda place: len(examples[place].encoded.tokens)):
        if groups[-1] and (len(groups[-1]) + 1) * len(examples[place].encoded.tokens) > budget:
            groups.append([])
        groups[-1].append(place)
    return groups


def at(hidden: Tensor, ends: Tensor) -> Tensor:
    """The states at step ends."""
    return hidden.gather(1, ends.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))


def backward(scores: Tensor, labels: Tensor, solutions: int, step: Step) -> float:
    """The loss of a batch, after its backward pass."""
    loss = (
        F.binary_cross_entropy_with_logits(scores.float()[counted(labels)], labels[counted(labels)], reduction="sum") / solutions
    )
    loss.backward()
    if step is not None:
        step()
    return float(loss.detach())


def gradients(model: PreTrainedModel, run: Callable[[], float]) -> Found:
    """The loss of a call, and the gradients that it leaves."""
    model.zero_grad()
    loss = run()
    found = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])
    model.zero_grad()
    return loss, found


def stepping(model: PreTrainedModel) -> Callable[[], None]:
    """A function that changes the weights a little."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=model.device.type == "cuda")

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return step


def row(what: str, ours: float, theirs: float | None, goal: str, note: str) -> Row:
    """A row of tokens per second."""
    return Row("gpu", what, ours, theirs, "tokens/s", ours / theirs if theirs else None, goal, note)


def apart(some: list[list[float]], others: list[list[float]]) -> float:
    """The largest difference of two lists of step scores."""
    return max(abs(one - other) for pair in zip(some, others) for one, other in zip(*pair))


def bandwidth(device: torch.device) -> float:
    """Bytes per second of copies within the device's memory, read and written."""
    source = torch.zeros(BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def seconds() -> float:
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        for _ in range(COPIES):
            target.copy_(source)
        torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    seconds()  # warms up
    return COPIES * 2 * BYTES / seconds()


def measure(size: Size = SMOLLM2) -> list[Row]:
    """All rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begun = time.perf_counter()
    one = Bench(size, device)
    rows = one.card()
    for part in (one.greedy, one.scoring, one.training, one.fine_tuning, one.sampling, one.continuous):
        begin = time.perf_counter()
        try:
            rows += part()
        except Exception as error:  # the other parts are measured all the same
            print(f"{part.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            rows.append(Row("gpu", f"{part.__name__}: {type(error).__name__}", float("nan"), unit="", note="failed"))
        print(f"{part.__name__}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    used = bench.versions("torch", "transformers")
    return [*rows, Row("gpu", "this benchmark", time.perf_counter() - begun, unit="s", goal="<= 120", note=used)]


if __name__ == "__main__":
    if "--tiny" in sys.argv:
        print(bench.table([replace(one, goal="") if one.unit == "tokens/s" else one for one in measure(TINY)]))
    elif not torch.cuda.is_available():
        sys.exit("no GPU: torch.cuda.is_available() is False. `--tiny` runs a small model without one.")
    else:
        bench.main(measure)
