"""Step scores of many solutions of one question, reading shared tokens once.

The solutions are merged into trees of tokens (prefix trees). A tree is read as one row of tokens, after the question. A token attends
only to the question and to its ancestors, so the result is the same as for reading each solution alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pqm.models.architecture import layer_windows, masks_by_layer, text_config
from pqm.models.last_layer import only_at
from pqm.models.packed_attention import Piece
from pqm.models.step_head import head, step_logits
from pqm.models.tree_attention import Groups, group, takes_attention, tree_attention


@dataclass(frozen=True)
class Encoded:
    """The tokens of a question and solution, and the position of each step's end."""

    tokens: tuple[int, ...]
    step_ends: tuple[int, ...]


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
        depth, before = len(path), len(self.tokens)
        added = range(before + 1, before + 1 + len(tokens) - depth)
        self.parents += [path[-1] if path else 0, *added][: len(added)]
        self.tokens += tokens[depth:]
        self.depths += range(depth, len(tokens))
        path += added
        self.paths[solution] = path

    def pieces(self, start: int, question: Sequence[int] = ()) -> list[Piece]:
        """The tokens that each solution adds, in a row of tokens.

        Args:
            start: the place of node 1 in the row.
            question: the places of the question's tokens, if they are no nodes of the tree.
        """
        pieces, end = [], start
        for path in self.paths.values():
            places = np.array(path, dtype=np.int64) + start - 1
            if len(places) and places[-1] >= end:
                pieces.append(Piece(end, int(places[-1]) + 1, np.concatenate([np.array(question, dtype=np.int64), places])))
                end = pieces[-1].end
        return pieces

    def sees(self) -> Tensor:
        """Whether a node (row) attends to a node (column): itself and its ancestors. Shape [nodes, nodes]."""
        sees = torch.eye(len(self.tokens), dtype=torch.bool)
        rows = sees.numpy()
        for node, parent in enumerate(self.parents):
            if parent:
                rows[node] |= rows[parent - 1]
        return sees


@dataclass(frozen=True)
class Row:
    """Tokens that are read together as one row.

    Attributes:
        tokens, positions: shape [1, tokens].
        groups: what attends together.
        ends: the places of all step ends, each once.
    """

    tokens: Tensor
    positions: Tensor
    groups: Groups
    ends: Tensor

    def sees(self) -> Tensor:
        """Whether a token (row) attends to a token (column), shape [tokens, tokens]."""
        raise NotImplementedError


@dataclass(frozen=True)
class TreeRow(Row):
    """A tree after its question."""

    tree: PrefixTree

    def sees(self) -> Tensor:
        """Whether a token (row) attends to a token (column), shape [tokens, tokens]."""
        length = self.tokens.shape[1]
        prompt = length - len(self.tree.tokens)
        sees = torch.ones(length, length, dtype=torch.bool).tril()
        sees[prompt:, prompt:] = self.tree.sees()
        return sees


@dataclass(frozen=True)
class PrefixTrees:
    """All solutions of one question, for any model with the same tokenizer.

    Attributes:
        solutions: in the given order, with duplicates; those without steps are in no tree.
        prompt: the question's tokens.
        rows: the trees.
    """

    solutions: Sequence[Encoded]
    prompt: tuple[int, ...]
    rows: list[TreeRow]


def build_prefix_trees(solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> PrefixTrees:
    """Build the prefix trees of one question's solutions.

    Args:
        solutions: solutions of one question, each with the question as its first `prompt_tokens` tokens.
        budget: most tokens per row; a row contains at least one solution.

    Raises:
        ValueError: the solutions have different prompts.
    """
    unique = [solution for solution in dict.fromkeys(solutions) if solution.step_ends]
    if not unique:
        return PrefixTrees(solutions, (), [])
    prompt = unique[0].tokens[:prompt_tokens]
    if any(solution.tokens[:prompt_tokens] != prompt for solution in unique):
        raise ValueError("the solutions do not answer the same question; expected one common prompt")
    trees = _trees(unique, prompt_tokens, budget - prompt_tokens)
    return PrefixTrees(solutions, prompt, [_row(tree, prompt, budget) for tree in trees])


def _trees(solutions: Sequence[Encoded], prompt_tokens: int, size: int) -> list[PrefixTree]:
    trees = [PrefixTree()]
    for solution in sorted(solutions, key=lambda solution: solution.tokens):
        tokens = solution.tokens[prompt_tokens:]
        if trees[-1].tokens and len(trees[-1].tokens) + len(tokens) - len(trees[-1].shared(tokens)) > size:
            trees.append(PrefixTree())
        trees[-1].add(solution, tokens)
    return trees


def _row(tree: PrefixTree, prompt: tuple[int, ...], budget: int) -> TreeRow:
    length = len(prompt)
    pieces = [Piece(0, length, np.arange(length)), *tree.pieces(length, range(length))]
    tokens = torch.tensor([[*prompt, *tree.tokens]])
    positions = torch.cat([torch.arange(length), torch.tensor(tree.depths, dtype=torch.long) + length]).unsqueeze(0)
    ends = {length - 1 + path[end - length] for solution, path in tree.paths.items() for end in solution.step_ends}
    return TreeRow(tokens, positions, group(pieces, budget), torch.tensor(sorted(ends)), tree)


@contextmanager
def reading(model: PreTrainedModel, row: Row, ends_only: bool) -> Iterator[None]:
    """Let a model read a row of trees; no change for a model that does so already.

    Layers that are computed again for a backward pass (activation checkpointing) need it, too.
    """
    with tree_attention(model, row.groups), only_at(model, row.ends if ends_only else None):
        yield


def read_row(model: PreTrainedModel, row: Row, ends_only: bool) -> Tensor:
    """The last hidden states of a row of tokens, shape [tokens, hidden].

    Args:
        ends_only: whether only the states at step ends are used; the others may then be wrong.
    """
    tokens, positions = row.tokens.to(model.device), row.positions.to(model.device)
    masks = None
    if not takes_attention(model):
        hidden = ~row.sees()
        mask = torch.zeros(hidden.shape, dtype=model.dtype).masked_fill_(hidden, float("-inf"))[None, None].to(model.device)
        masks = masks_by_layer(layer_windows(model), mask, positions, positions)
    with reading(model, row, ends_only):
        output = model.base_model(input_ids=tokens, position_ids=positions, attention_mask=masks, use_cache=False)
    return cast(Tensor, output.last_hidden_state[0])


def read_trees(model: PreTrainedModel, trees: PrefixTrees, ends_only: bool) -> Iterator[tuple[PrefixTree, Tensor]]:
    """Each tree with the last hidden states of its nodes, the question's last token first; shape [1 + tokens, hidden].

    Args:
        ends_only: see `read_row`.
    """
    for row in trees.rows:
        yield row.tree, read_row(model, row, ends_only)[len(trees.prompt) - 1 :]


def score_outputs(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The outputs of a reward model's head, shape [.., 1 or 2], in the precision of its weights."""
    layer = head(model)
    with torch.autocast(hidden.device.type, enabled=False):
        return cast(Tensor, layer(hidden.to(layer.weight.dtype)))


@torch.inference_mode()
def step_scores(model: PreTrainedModel, trees: PrefixTrees) -> list[list[float]]:
    """The step scores of each solution: logits, or running products if the checkpoint's config sets them."""
    scores: dict[Encoded, list[float]] = {solution: [] for solution in trees.solutions}
    for tree, hidden in read_trees(model, trees, ends_only=True):
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
    for tree, hidden in read_trees(model, trees, ends_only=False):
        logits = token_logits(model, hidden[tree.parents])
        gains = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tree.tokens, device=logits.device).unsqueeze(1))
        nodes = gains.squeeze(1).double().cpu()
        for solution, path in tree.paths.items():
            row = nodes[torch.tensor(path) - 1].cumsum(dim=0).tolist()
            sums[solution] = [row[end - len(trees.prompt)] for end in solution.step_ends]
    return [sums[solution] for solution in trees.solutions]
