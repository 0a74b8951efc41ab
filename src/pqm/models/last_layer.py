"""The last layer of a model whose states are read at a few tokens only.

Its attention needs the keys and values of all tokens, but its MLP, most of its work, is needed only where a state is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PreTrainedModel

from pqm.models.architecture import text_config


@contextmanager
def only_at(model: PreTrainedModel, places: Tensor | None) -> Iterator[None]:
    """Let the MLP of the last layer read only the tokens at `places`. The last hidden states of other tokens are then wrong.

    There is no change without places, for a model in this state already, and for a model whose last layer has no plain MLP.

    Args:
        places: each once, in the only row of a batch.
    """
    mlp = _last_mlp(model)
    if places is None or mlp is None or "forward" in vars(mlp):
        yield
        return
    plain, chosen = mlp.forward, places.to(model.device)

    def forward(hidden: Tensor) -> Tensor:
        read: Tensor = plain(hidden.index_select(1, chosen))
        return read.new_zeros(hidden.shape).index_copy(1, chosen, read)

    mlp.forward = forward
    try:
        yield
    finally:
        del mlp.forward


def _last_mlp(model: PreTrainedModel) -> nn.Module | None:
    """The MLP of the last layer; None where it has another name, or is a mixture of experts."""
    layers = [
        found
        for found in model.base_model.modules()
        if isinstance(found, nn.ModuleList) and len(found) == text_config(model).num_hidden_layers
    ]
    mlp = getattr(layers[0][-1], "mlp", None) if layers else None
    return mlp if type(mlp).__name__.endswith("MLP") and not hasattr(mlp, "experts") else None
