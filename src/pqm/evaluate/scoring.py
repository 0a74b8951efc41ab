"""Step scores of many solutions, every shared prefix read once.

The solutions of one question are laid into a prefix tree of tokens; one forward pass reads the tree, each token
seeing its ancestors alone at its own depth, which gives exactly what reading each solution by itself gives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pqm.reward_model import Encoded, head


@dataclass
class PrefixTree:
    """Tokens with their parents (-1: none) and depths, parents first; `paths[i]` are the nodes of solution i's tokens."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, tokens: Sequence[int]) -> None:
        """Lay in a solution; what it shares with earlier ones takes no new node."""
        path, parent = [], -1
        for depth, token in enumerate(tokens):
            node = self._children.get((parent, token))
            if node is None:
                node = len(self.tokens)
                self._children[parent, token] = node
                self.tokens.append(token)
                self.parents.append(parent)
                self.depths.append(depth)
            path.append(node)
            parent = node
        self.paths.append(path)

    def new_nodes(self, tokens: Sequence[int]) -> int:
        """How many nodes `add` would make."""
        parent = -1
        for depth, token in enumerate(tokens):
            node = self._children.get((parent, token))
            if node is None:
                return len(tokens) - depth
            parent = node
        return 0

    def ancestors(self) -> Tensor:
        """Which node sees which: itself and its ancestors; bool, shape [nodes, nodes]."""
        seen = np.eye(len(self.tokens), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return torch.from_numpy(seen)


def pack(solutions: Sequence[Encoded], budget: int) -> Iterator[tuple[PrefixTree, list[int]]]:
    """Prefix trees of at most `budget` tokens (one solution at least), each with its solutions' places in `solutions`."""
    tree = PrefixTree()
    places: list[int] = []
    for place, solution in enumerate(solutions):
        if places and len(tree.tokens) + tree.new_nodes(solution.tokens) > budget:
            yield tree, places
            tree, places = PrefixTree(), []
        tree.add(solution.tokens)
        places.append(place)
    if places:
        yield tree, places


def read_tree(model: PreTrainedModel, tree: PrefixTree) -> Tensor:
    """The last hidden state at every node, shape [nodes, hidden]."""
    device, dtype = model.device, model.dtype
    mask = torch.zeros(len(tree.tokens), len(tree.tokens), dtype=dtype).masked_fill_(~tree.ancestors(), torch.finfo(dtype).min)
    output = model.base_model(
        input_ids=torch.tensor([tree.tokens], device=device),
        position_ids=torch.tensor([tree.depths], device=device),
        attention_mask=mask[None, None].to(device),
        use_cache=False,
    )
    return output.last_hidden_state[0]


@torch.inference_mode()
def step_scores(model: PreTrainedModel, solutions: Sequence[Encoded], budget: int) -> list[list[float]]:
    """The logit at the end of each step of one question's solutions; equal solutions are scored once."""
    unique = list(dict.fromkeys(solutions))
    scores: dict[Encoded, list[float]] = {}
    for tree, places in pack(unique, budget):
        nodes = [tree.paths[index][end] for index, place in enumerate(places) for end in unique[place].step_ends]
        at_ends = head(model)(read_tree(model, tree)[nodes]).float().squeeze(-1).tolist() if nodes else []
        values = iter(at_ends)
        for place in places:
            scores[unique[place]] = [next(values) for _ in unique[place].step_ends]
    return [scores[solution] for solution in solutions]


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[list[float]]:
    """The log likelihood of each solution up to the end of each step, under a language model, after the shared prompt."""
    unique = list(dict.fromkeys(solutions))
    sums: dict[Encoded, list[float]] = {}
    for tree, places in pack(unique, budget):
        logits = model.get_output_embeddings()(read_tree(model, tree)).float()
        parents, tokens = torch.tensor(tree.parents).clamp(min=0), torch.tensor(tree.tokens)
        gains = torch.log_softmax(logits, dim=-1)[parents, tokens].tolist()
        for index, place in enumerate(places):
            path, total, at_ends = tree.paths[index], 0.0, []
            ends = set(unique[place].step_ends)
            for position in range(prompt_tokens, len(path)):
                total += gains[path[position]]
                if position in ends:
                    at_ends.append(total)
            sums[unique[place]] = at_ends
    return [sums[solution] for solution in solutions]
