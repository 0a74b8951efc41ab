"""A cache of keys and values whose rows are slots: one text each, from position 0, all allocated at once.

A row's next token is written in place, so no step copies the cache. A finished row's slot is used again by another text. What an
earlier text left in a slot is never seen, because every text has its own length.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin


@dataclass
class Place:
    """Where the next tokens are written.

    Attributes:
        positions: the position of each row's newest token, shape [slots].
        rows: number of rows that are read, the first slots.
        width: number of positions that are read.
    """

    positions: Tensor
    rows: int = 0
    width: int = 0


class SlotLayer(CacheLayerMixin):
    """The keys and values of one layer, each of shape [slots, heads, length, size]."""

    is_sliding = False

    def __init__(self, place: Place, length: int) -> None:
        super().__init__()
        self._place, self._length = place, length

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the slots, with the sizes of these states. They begin with 0, because NaN would pass through a mask."""
        slots = len(self._place.positions)
        self.keys, self.values = (
            one.new_zeros(slots, one.shape[1], self._length, one.shape[3]) for one in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *arguments: object, **options: object) -> tuple[Tensor, Tensor]:
        """Write the states of each row's newest token, and return those of all its tokens so far.

        Args:
            key_states, value_states: shape [rows, heads, 1, size].

        Returns:
            Keys and values, shape [rows, heads, width, size].
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows, width = self._place.rows, self._place.width
        places = self._place.positions[:rows].view(-1, 1, 1, 1)
        for slots, states in ((self.keys, key_states), (self.values, value_states)):
            slots[:rows].scatter_(2, places.expand_as(states), states)
        return self.keys[:rows, :, :width], self.values[:rows, :, :width]

    def fill(self, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Write the states of whole texts to slots; shape [texts, heads, tokens, size]."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        assert self.keys is not None and self.values is not None
        for slots, states in ((self.keys, keys), (self.values, values)):
            slots[places, :, : states.shape[2]] = states

    def move(self, sources: Tensor, targets: Tensor, width: int) -> None:
        """Copy the first `width` positions of some slots to others."""
        for slots in (self.keys, self.values):
            if slots is not None:
                slots[targets, :, :width] = slots[sources, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of positions that are read, and the first of them."""
        return self._place.width, 0

    def get_seq_length(self) -> int:
        """Number of positions that are read."""
        return self._place.width

    def get_max_length(self) -> int:
        """Positions of a slot."""
        return self._length


class SlotCache(Cache):
    """The slots of all layers.

    Args:
        layers: of the model.
        slots: number of rows.
        length: positions of a slot.
    """

    def __init__(self, layers: int, slots: int, length: int, device: torch.device) -> None:
        self.place = Place(torch.zeros(slots, dtype=torch.long, device=device))
        self._slots = [SlotLayer(self.place, length) for _ in range(layers)]
        super().__init__(layers=[*self._slots])

    def fill(self, places: Tensor, texts: DynamicCache, owners: Tensor) -> None:
        """Copy texts of another cache to slots: to each of `places` the text at the same place of `owners`."""
        for slots, layer in zip(self._slots, cast(list[CacheLayerMixin], texts.layers)):
            keys, values = cast(Tensor, layer.keys), cast(Tensor, layer.values)
            slots.fill(places, keys[owners], values[owners])

    def move(self, sources: Tensor, targets: Tensor, width: int) -> None:
        """Copy the first `width` positions of some slots to others, in all layers."""
        for layer in self._slots:
            layer.move(sources, targets, width)
