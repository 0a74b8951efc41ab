"""Step scores of many solutions, reading tokens shared by solutions of one question once.

The solutions of a question are merged into trees of tokens (prefix trees), with the question as the trunk. Trees are read one after
the other, as one row of tokens. A token attends only to its ancestors, so the result is the same as for reading each solution alone.
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
from pqm.models.encoded import Encoded
from pqm.models.last_layer import only_at
from pqm.models.packed_attention import Piece
from pqm.models.step_head import head, step_logits
from pqm.models.tree_attention import takes_attention, tree_attention

LOGITS_AT_ONCE = 2**28  # numbers; so that a large vocabulary needs no more memory than the layers


@dataclass
class PrefixTree:
    """Solutions merged by their common prefixes.

    Attributes:
        tokens: each after its parent.
        parents: the token before each token, or -1 for the first.
        depths: the position of each token in its text.
        paths: the place of each token of each solution.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[Encoded, list[int]] = field(default_factory=dict)

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """The path of the common prefix of `tokens` and the newest solution."""
        newest = next(reversed(self.paths.values()), [])
        length = 0
        for place, token in zip(newest, tokens):
            if self.tokens[place] != token:
                break
            length += 1
        return newest[:length]

    def add(self, solution: Encoded) -> None:
        """Add a solution. Solutions must be added in sorted order of their tokens."""
        path = self.shared(solution.tokens)
        depth, before = len(path), len(self.tokens)
        added = range(before, before + len(solution.tokens) - depth)
        self.parents += [path[-1] if path else -1, *added][: len(added)]
        self.tokens += solution.tokens[depth:]
        self.depths += range(depth, len(solution.tokens))
        path += added
        self.paths[solution] = path

    def pieces(self, start: int) -> list[Piece]:
        """The tokens that each solution adds, in a row of tokens where the tree begins at `start`."""
        pieces, end = [], start
        for path in self.paths.values():
            places = np.array(path, dtype=np.int64) + start
            if len(places) and places[-1] >= end:
                pieces.append(Piece(end, int(places[-1]) + 1, places))
                end = pieces[-1].end
        return pieces

    def sees(self) -> Tensor:
        """Whether a token (row) attends to a token (column): itself and its ancestors. Shape [tokens, tokens]."""
        sees = torch.eye(len(self.tokens), dtype=torch.bool)
        rows = sees.numpy()
        for place, parent in enumerate(self.parents):
            if parent >= 0:
                rows[place] |= rows[parent]
        return sees


@dataclass(frozen=True)
class Row:
    """Trees one after the other, read as one row of tokens.

    Attributes:
        trees: the trees.
        starts: the place in the row of each tree's first token.
        tokens, positions: shape [1, tokens].
        pieces: what attends together.
        ends: the places of all step ends, each once.
    """

    trees: Sequence[PrefixTree]
    starts: Sequence[int]
    tokens: Tensor
    positions: Tensor
    pieces: Sequence[Piece]
    ends: Tensor

    def sees(self) -> Tensor:
        """Whether a token (row) attends to a token (column), shape [tokens, tokens]."""
        return torch.block_diag(*(tree.sees() for tree in self.trees))


def row_of(trees: Sequence[PrefixTree]) -> Row:
    """Put trees one after the other."""
    starts = np.cumsum([0, *(len(tree.tokens) for tree in trees)]).tolist()[:-1]
    ends = {start + path[end] for start, tree in zip(starts, trees) for one, path in tree.paths.items() for end in one.step_ends}
    return Row(
        trees,
        starts,
        torch.tensor([[token for tree in trees for token in tree.tokens]]),
        torch.tensor([[depth for tree in trees for depth in tree.depths]]),
        [piece for start, tree in zip(starts, trees) for piece in tree.pieces(start)],
        torch.tensor(sorted(ends)),
    )


@dataclass(frozen=True)
class PrefixTrees:
    """All solutions of some questions, for any model with the same tokenizer.

    Attributes:
        solutions: in the given order, with duplicates; those without steps are in no tree.
        rows: the trees.
        prompts: the number of tokens of the question of each tree of each row.
    """

    solutions: Sequence[Encoded]
    rows: list[Row]
    prompts: list[list[int]]


def build_prefix_trees(questions: Sequence[tuple[Sequence[Encoded], int]], budget: int) -> PrefixTrees:
    """Build the prefix trees of the solutions of some questions.

    Args:
        questions: the solutions of each question, and how many of their first tokens are the question.
        budget: most tokens per row; a row contains at least one solution.

    Raises:
        ValueError: solutions of one question have different prompts.
    """
    rows: list[list[PrefixTree]] = []
    prompts: list[list[int]] = []
    room = 0
    for solutions, prompt in questions:
        for tree in _trees(solutions, prompt, budget):
            if len(tree.tokens) > room or not rows:
                rows.append([])
                prompts.append([])
                room = budget
            rows[-1].append(tree)
            prompts[-1].append(prompt)
            room -= len(tree.tokens)
    everything = [solution for solutions, _ in questions for solution in solutions]
    return PrefixTrees(everything, [row_of(trees) for trees in rows], prompts)


def _trees(solutions: Sequence[Encoded], prompt: int, size: int) -> list[PrefixTree]:
    unique = sorted((one for one in dict.fromkeys(solutions) if one.step_ends), key=lambda one: one.tokens)
    if any(solution.tokens[:prompt] != unique[0].tokens[:prompt] for solution in unique):
        raise ValueError("the solutions do not answer the same question; expected one common prompt")
    trees: list[PrefixTree] = []
    for one in unique:
        if not trees or len(trees[-1].tokens) + len(one.tokens) - len(trees[-1].shared(one.tokens)) > size:
            trees.append(PrefixTree())
        trees[-1].add(one)
    return trees


@contextmanager
def reading(model: PreTrainedModel, row: Row, ends_only: bool) -> Iterator[None]:
    """Let a model read a row of trees; no change for a model that does so already.

    Layers that are computed again for a backward pass (activation checkpointing) need it, too.
    """
    with tree_attention(model, row.pieces), only_at(model, row.ends if ends_only else None):
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


def read_rows(model: PreTrainedModel, trees: PrefixTrees, ends_only: bool) -> Iterator[tuple[Row, Tensor]]:
    """Each row with the last hidden states of its tokens, shape [tokens, hidden].

    Args:
        ends_only: see `read_row`.
    """
    for row in trees.rows:
        yield row, read_row(model, row, ends_only)


def score_outputs(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The outputs of a reward model's head, shape [.., 1 or 2], in the precision of its weights."""
    layer = head(model)
    with torch.autocast(hidden.device.type, enabled=False):
        return cast(Tensor, layer(hidden.to(layer.weight.dtype)))


@torch.inference_mode()
def step_scores(model: PreTrainedModel, trees: PrefixTrees) -> list[list[float]]:
    """The step scores of each solution: logits, or running products if the checkpoint's config sets them."""
    scores: dict[Encoded, list[float]] = {solution: [] for solution in trees.solutions}
    for row, hidden in read_rows(model, trees, ends_only=True):
        values = dict(
            zip(row.ends.tolist(), step_logits(score_outputs(model, hidden[row.ends.to(hidden.device)]).float()).tolist())
        )
        for start, tree in zip(row.starts, row.trees):
            for solution, path in tree.paths.items():
                scores[solution] = [values[start + path[end]] for end in solution.step_ends]
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
    for (row, hidden), prompts in zip(read_rows(model, trees, ends_only=False), trees.prompts):
        for start, tree, prompt in zip(row.starts, row.trees, prompts):
            gains = _gains(model, hidden[start : start + len(tree.tokens)], tree)
            for solution, path in tree.paths.items():
                so_far = gains[path[prompt:]].cumsum().tolist()
                sums[solution] = [so_far[end - prompt] for end in solution.step_ends]
    return [sums[solution] for solution in trees.solutions]


def _gains(model: PreTrainedModel, hidden: Tensor, tree: PrefixTree) -> np.ndarray:
    """The log probability of each token of a tree, shape [tokens]; 0 for the first, which is not predicted."""
    parents, tokens = (torch.tensor(one[1:], device=hidden.device) for one in (tree.parents, tree.tokens))
    gains = [
        torch.log_softmax(token_logits(model, hidden[before]), dim=-1).gather(1, wanted.unsqueeze(1)).squeeze(1)
        for before, wanted in zip(
            *(one.split(max(1, LOGITS_AT_ONCE // text_config(model).vocab_size)) for one in (parents, tokens))
        )
    ]
    return np.concatenate([np.zeros(1), *(one.double().cpu().numpy() for one in gains)])
