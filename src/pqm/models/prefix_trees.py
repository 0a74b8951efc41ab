"""Step scores of many solutions of one question, reading shared tokens once.

The question's keys and values are computed once. The solutions after it are merged into trees of tokens (prefix trees). A token
attends only to the question and to its ancestors, so the result is the same as for reading each solution alone.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pqm.models.architecture import layer_windows, masks_by_layer, text_config
from pqm.models.reward_model import Encoded, head, step_logits

# Size of a tree, in lengths of the longest solution. Larger trees share more tokens, but need longer attention masks.
SOLUTIONS_PER_TREE = 4


@dataclass
class PrefixTree:
    """Solutions merged by their common prefixes. Node 0 is the question's last token; token i is node i + 1."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[Encoded, list[int]] = field(default_factory=dict)
    """The node of each token of each solution, without the question."""

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """The path of the common prefix of `tokens` and the newest solution."""
        newest = next(reversed(self.paths.values()), [])
        length = 0
        for node, token in zip(newest, tokens):
            if self.tokens[node - 1] != token:
                break
            length += 1
        return newest[:length]

    def add(self, solution: Encoded, tokens: Sequence[int]) -> None:
        """Add a solution. Solutions must be added in sorted order of their tokens."""
        path = self.shared(tokens)
        for depth in range(len(path), len(tokens)):
            self.parents.append(path[-1] if path else 0)
            self.tokens.append(tokens[depth])
            self.depths.append(depth)
            path.append(len(self.tokens))
        self.paths[solution] = path

    def sees(self) -> Tensor:
        """Whether a node (row) attends to a node (column): itself and its ancestors. Shape [nodes, nodes]."""
        sees = torch.eye(len(self.tokens), dtype=torch.bool)
        rows = sees.numpy()
        for node, parent in enumerate(self.parents):
            if parent:
                rows[node] |= rows[parent - 1]
        return sees


@dataclass(frozen=True)
class TreeBatch:
    """Trees that are read together, padded to the same number of nodes.

    Attributes:
        tokens, depths: of each node, shape [trees, nodes].
        mask: additive attention mask, shape [trees, 1, nodes, question + nodes].
    """

    trees: list[PrefixTree]
    tokens: Tensor
    depths: Tensor
    mask: Tensor


@dataclass(frozen=True)
class PrefixTrees:
    """All solutions of one question, for any model with the same tokenizer.

    Attributes:
        solutions: in the given order, with duplicates; those without steps are in no tree.
        prompt: the question's tokens.
        batches: the trees.
    """

    solutions: Sequence[Encoded]
    prompt: tuple[int, ...]
    batches: list[TreeBatch]


def build_prefix_trees(solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> PrefixTrees:
    """Build the prefix trees of one question's solutions.

    Args:
        solutions: solutions of one question, each with the question as its first `prompt_tokens` tokens.
        budget: most tokens per batch; a batch contains at least one solution.

    Raises:
        ValueError: the solutions have different prompts.
    """
    unique = [solution for solution in dict.fromkeys(solutions) if solution.step_ends]
    if not unique:
        return PrefixTrees(solutions, (), [])
    prompt = unique[0].tokens[:prompt_tokens]
    if any(solution.tokens[:prompt_tokens] != prompt for solution in unique):
        raise ValueError("the solutions do not answer the same question; expected one common prompt")
    by_size = sorted(_trees(unique, prompt_tokens, budget), key=lambda tree: len(tree.tokens))
    batches = []
    while by_size:
        rows = max(1, budget // len(by_size[-1].tokens))
        batches.append(_batch(by_size[-rows:], prompt_tokens))
        by_size = by_size[:-rows]
    return PrefixTrees(solutions, prompt, batches)


def _trees(solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[PrefixTree]:
    longest = max(len(solution.tokens) for solution in solutions) - prompt_tokens
    size = min(budget, SOLUTIONS_PER_TREE * longest)
    trees = [PrefixTree()]
    for solution in sorted(solutions, key=lambda solution: solution.tokens):
        tokens = solution.tokens[prompt_tokens:]
        if trees[-1].tokens and len(trees[-1].tokens) + len(tokens) - len(trees[-1].shared(tokens)) > size:
            trees.append(PrefixTree())
        trees[-1].add(solution, tokens)
    return trees


def _batch(trees: list[PrefixTree], prompt_tokens: int) -> TreeBatch:
    width = max(len(tree.tokens) for tree in trees)
    tokens, depths = torch.zeros(2, len(trees), width, dtype=torch.long)
    mask = torch.full((len(trees), 1, width, prompt_tokens + width), float("-inf"))
    mask[..., :prompt_tokens] = 0.0
    for row, tree in enumerate(trees):
        size = len(tree.tokens)
        tokens[row, :size], depths[row, :size] = torch.tensor(tree.tokens), torch.tensor(tree.depths)
        mask[row, 0, :size, prompt_tokens : prompt_tokens + size].masked_fill_(tree.sees(), 0.0)
    return TreeBatch(trees, tokens, depths, mask)


def read_trees(model: PreTrainedModel, trees: PrefixTrees) -> Iterator[tuple[PrefixTree, Tensor]]:
    """Each tree with the last hidden states of its nodes, the question's last token first; shape [1 + tokens, hidden]."""
    if not trees.batches:
        return
    device, length, windows = model.device, len(trees.prompt), layer_windows(model)
    cache = DynamicCache()  # without the config, so that layers with a sliding window forget nothing that a tree needs
    prompt = torch.tensor([trees.prompt], device=device)
    first = model.base_model(input_ids=prompt, past_key_values=cache, use_cache=True).last_hidden_state[0, -1:]
    for batch in trees.batches:
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(batch.trees))
        positions = (length + batch.depths).to(device)
        before = torch.arange(length, device=device).expand(len(batch.trees), -1)
        mask = batch.mask.to(device, model.dtype)
        output = model.base_model(
            input_ids=batch.tokens.to(device),
            position_ids=positions,
            attention_mask=masks_by_layer(windows, mask, positions, torch.cat([before, positions], dim=1)),
            past_key_values=shared,
            use_cache=True,
        )
        for tree, hidden in zip(batch.trees, output.last_hidden_state):
            yield tree, torch.cat([first, hidden[: len(tree.tokens)]])


def score_outputs(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The outputs of a reward model's head, shape [.., 1 or 2]."""
    return cast(Tensor, head(model)(hidden))


@torch.inference_mode()
def step_scores(model: PreTrainedModel, trees: PrefixTrees) -> list[list[float]]:
    """The step scores of each solution: logits, or running products if the checkpoint's config sets them."""
    scores: dict[Encoded, list[float]] = {solution: [] for solution in trees.solutions}
    for tree, hidden in read_trees(model, trees):
        values = step_logits(score_outputs(model, hidden).float()).tolist()
        for solution, path in tree.paths.items():
            scores[solution] = [values[path[end - len(trees.prompt)]] for end in solution.step_ends]
    if getattr(model.config, "step_scores", "logit") == "running-product":
        scores = {solution: running_product(logits) for solution, logits in scores.items()}
    return [scores[solution] for solution in trees.solutions]


def running_product(logits: Sequence[float]) -> list[float]:
    """The logit of the product sigma(r_1) .. sigma(r_t) for each step t, computed without overflow."""
    log_products = -np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)).cumsum()
    return list((log_products - np.log(-np.expm1(np.minimum(log_products, -1e-300)))).tolist())


def token_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The logits of the next token, shape [.., vocabulary]; Gemma 2 limits them smoothly to `final_logit_softcapping`."""
    logits = cast(Tensor, model.get_output_embeddings()(hidden).float())
    cap = getattr(text_config(model), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, trees: PrefixTrees) -> list[list[float]]:
    """The log likelihood of each solution up to the end of each step under a language model, given the prompt."""
    sums: dict[Encoded, list[float]] = {solution: [] for solution in trees.solutions}
    for tree, hidden in read_trees(model, trees):
        logits = token_logits(model, hidden[tree.parents])
        gains = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tree.tokens, device=logits.device).unsqueeze(1))
        nodes = gains.squeeze(1).double().cpu()
        for solution, path in tree.paths.items():
            row = nodes[torch.tensor(path) - 1].cumsum(dim=0).tolist()
            sums[solution] = [row[end - len(trees.prompt)] for end in solution.step_ends]
    return [sums[solution] for solution in trees.solutions]
