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


def _read(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> Iterator[tuple[Tree, Tensor]]:
    """Trees of all solutions with the last hidden states of their nodes, [1 + tokens of the tree, hidden]."""
    prompt = solutions[0].tokens[:prompt_tokens]
    if any(solution.tokens[:prompt_tokens] != prompt for solution in solutions):
        raise ValueError("the solutions do not answer the same question; expected one prompt for all")
    device = model.device
    cache = DynamicCache(config=model.config)
    first = model.base_model(input_ids=torch.tensor([prompt], device=device), past_key_values=cache, use_cache=True)
    by_size = sorted(_trees(solutions, prompt_tokens, budget), key=lambda tree: len(tree.tokens))
    while by_size:
        width = len(by_size[-1].tokens)
        rows = max(1, budget // width)
        batch, by_size = by_size[-rows:], by_size[:-rows]
        tokens, depths = torch.zeros(2, len(batch), width, dtype=torch.long)
        mask = torch.full((len(batch), 1, width, prompt_tokens + width), float("-inf"))
        mask[..., :prompt_tokens] = 0.0
        for row, tree in enumerate(batch):
            size = len(tree.tokens)
            tokens[row, :size], depths[row, :size] = torch.tensor(tree.tokens), torch.tensor(tree.depths)
            mask[row, 0, :size, prompt_tokens : prompt_tokens + size].masked_fill_(tree.sees(), 0.0)
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(batch))
        output = model.base_model(
            input_ids=tokens.to(device),
            position_ids=(prompt_tokens + depths).to(device),
            attention_mask=mask.to(device, model.dtype),
            past_key_values=shared,
            use_cache=True,
        )
        for tree, hidden in zip(batch, output.last_hidden_state):
            yield tree, torch.cat([first.last_hidden_state[0, -1:], hidden[: len(tree.tokens)]])


@torch.inference_mode()
def step_scores(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[list[float]]:
    """The logit at the end of each step of each solution.

    Args:
        solutions: of one question, which is their first `prompt_tokens` tokens.
        budget: tokens of a batch, at least one solution.
    """
    scores: dict[Encoded, list[float]] = {solution: [] for solution in solutions}
    unique = [solution for solution in scores if solution.step_ends]
    for tree, hidden in _read(model, unique, prompt_tokens, budget) if unique else ():
        values = head(model)(hidden).float().squeeze(-1).tolist()
        for solution, path in tree.paths.items():
            scores[solution] = [values[path[end - prompt_tokens]] for end in solution.step_ends]
    return [scores[solution] for solution in solutions]


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[list[float]]:
    """The log likelihood under a language model of each solution up to the end of each step, the prompt not counted."""
    sums: dict[Encoded, list[float]] = {solution: [] for solution in solutions}
    unique = [solution for solution in sums if solution.step_ends]
    for tree, hidden in _read(model, unique, prompt_tokens, budget) if unique else ():
        logits = model.get_output_embeddings()(hidden[tree.parents]).float()
        gains = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tree.tokens, device=logits.device).unsqueeze(1))
        nodes = gains.squeeze(1).double().cpu()
        for solution, path in tree.paths.items():
            row = nodes[torch.tensor(path) - 1].cumsum(dim=0).tolist()
            sums[solution] = [row[end - prompt_tokens] for end in solution.step_ends]
    return [sums[solution] for solution in solutions]
