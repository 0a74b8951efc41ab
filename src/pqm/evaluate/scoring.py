"""Step scores of many solutions of one question: what they share is read once.

The question's keys and values are kept and shared. Behind them the solutions are merged into trees of tokens: a token sees
the question and its own ancestors only, so the result is that of reading each solution by itself.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pqm.reward_model import Encoded, head

# A tree of this many times the longest solution: a longer one shares more, but every token's mask gets longer.
SOLUTIONS_A_TREE = 4


@dataclass
class Tree:
    """Solutions merged by their shared beginnings; node 0 is the question's last token."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[Encoded, list[int]] = field(default_factory=dict)
    """The node of each token of each solution, the question not counted."""

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """The path of the newest solution as far as `tokens` go along it."""
        newest = next(reversed(self.paths.values()), [])
        length = 0
        for node, token in zip(newest, tokens):
            if self.tokens[node - 1] != token:
                break
            length += 1
        return newest[:length]

    def add(self, solution: Encoded, tokens: Sequence[int]) -> None:
        """Add a solution whose tokens sort after those of all that the tree holds."""
        path = self.shared(tokens)
        for depth in range(len(path), len(tokens)):
            self.parents.append(path[-1] if path else 0)
            self.tokens.append(tokens[depth])
            self.depths.append(depth)
            path.append(len(self.tokens))
        self.paths[solution] = path

    def sees(self) -> Tensor:
        """Whether a node (row) sees a node (column): itself and its ancestors. Shape [nodes, nodes]."""
        sees = torch.eye(len(self.tokens), dtype=torch.bool)
        rows = sees.numpy()
        for node, parent in enumerate(self.parents):
            if parent:
                rows[node] |= rows[parent - 1]
        return sees


@dataclass(frozen=True)
class Batch:
    """Trees that are read together: their nodes, padded, with depths and the mask of what each sees behind the question."""

    trees: list[Tree]
    tokens: Tensor
    depths: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Forest:
    """All solutions of one question, ready to be read by any model with the same tokens.

    `solutions` in the order they were given, equal ones included; those without steps are in no tree.
    """

    solutions: Sequence[Encoded]
    prompt: tuple[int, ...]
    batches: list[Batch]


def plant(solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> Forest:
    """The forest of one question's solutions.

    Args:
        solutions: of one question, which is their first `prompt_tokens` tokens.
        budget: tokens of a batch, at least one solution.
    """
    unique = [solution for solution in dict.fromkeys(solutions) if solution.step_ends]
    if not unique:
        return Forest(solutions, (), [])
    prompt = unique[0].tokens[:prompt_tokens]
    if any(solution.tokens[:prompt_tokens] != prompt for solution in unique):
        raise ValueError("the solutions do not answer the same question; expected one prompt for all")
    by_size = sorted(_trees(unique, prompt_tokens, budget), key=lambda tree: len(tree.tokens))
    batches = []
    while by_size:
        rows = max(1, budget // len(by_size[-1].tokens))
        batches.append(_batch(by_size[-rows:], prompt_tokens))
        by_size = by_size[:-rows]
    return Forest(solutions, prompt, batches)


def _trees(solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[Tree]:
    longest = max(len(solution.tokens) for solution in solutions) - prompt_tokens
    size = min(budget, SOLUTIONS_A_TREE * longest)
    trees = [Tree()]
    for solution in sorted(solutions, key=lambda solution: solution.tokens):
        tokens = solution.tokens[prompt_tokens:]
        if trees[-1].tokens and len(trees[-1].tokens) + len(tokens) - len(trees[-1].shared(tokens)) > size:
            trees.append(Tree())
        trees[-1].add(solution, tokens)
    return trees


def _batch(trees: list[Tree], prompt_tokens: int) -> Batch:
    width = max(len(tree.tokens) for tree in trees)
    tokens, depths = torch.zeros(2, len(trees), width, dtype=torch.long)
    mask = torch.full((len(trees), 1, width, prompt_tokens + width), float("-inf"))
    mask[..., :prompt_tokens] = 0.0
    for row, tree in enumerate(trees):
        size = len(tree.tokens)
        tokens[row, :size], depths[row, :size] = torch.tensor(tree.tokens), torch.tensor(tree.depths)
        mask[row, 0, :size, prompt_tokens : prompt_tokens + size].masked_fill_(tree.sees(), 0.0)
    return Batch(trees, tokens, depths, mask)


def _read(model: PreTrainedModel, forest: Forest) -> Iterator[tuple[Tree, Tensor]]:
    """Each tree with the last hidden states of its nodes, the question's last token first: [1 + tokens, hidden]."""
    if not forest.batches:
        return
    device, length = model.device, len(forest.prompt)
    cache = DynamicCache(config=model.config)
    prompt = torch.tensor([forest.prompt], device=device)
    first = model.base_model(input_ids=prompt, past_key_values=cache, use_cache=True).last_hidden_state[0, -1:]
    for batch in forest.batches:
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(batch.trees))
        output = model.base_model(
            input_ids=batch.tokens.to(device),
            position_ids=(length + batch.depths).to(device),
            attention_mask=batch.mask.to(device, model.dtype),
            past_key_values=shared,
            use_cache=True,
        )
        for tree, hidden in zip(batch.trees, output.last_hidden_state):
            yield tree, torch.cat([first, hidden[: len(tree.tokens)]])


@torch.inference_mode()
def step_scores(model: PreTrainedModel, forest: Forest) -> list[list[float]]:
    """The logit at the end of each step of each solution."""
    scores: dict[Encoded, list[float]] = {solution: [] for solution in forest.solutions}
    for tree, hidden in _read(model, forest):
        values = head(model)(hidden).float().squeeze(-1).tolist()
        for solution, path in tree.paths.items():
            scores[solution] = [values[path[end - len(forest.prompt)]] for end in solution.step_ends]
    return [scores[solution] for solution in forest.solutions]


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, forest: Forest) -> list[list[float]]:
    """The log likelihood under a language model of each solution up to the end of each step, the prompt not counted."""
    sums: dict[Encoded, list[float]] = {solution: [] for solution in forest.solutions}
    for tree, hidden in _read(model, forest):
        logits = model.get_output_embeddings()(hidden[tree.parents]).float()
        gains = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tree.tokens, device=logits.device).unsqueeze(1))
        nodes = gains.squeeze(1).double().cpu()
        for solution, path in tree.paths.items():
            row = nodes[torch.tensor(path) - 1].cumsum(dim=0).tolist()
            sums[solution] = [row[end - len(forest.prompt)] for end in solution.step_ends]
    return [sums[solution] for solution in forest.solutions]
