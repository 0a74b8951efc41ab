"""Repeating the same GPU work without starting each of its kernels from Python."""

from collections.abc import Callable

import torch


class Graphs:
    """A function of sizes, recorded as one CUDA graph for each combination of sizes.

    Its first call with new sizes runs plainly, because libraries allocate memory then. The second call is recorded.

    Args:
        function: works in place on tensors that stay where they are, and does not wait for the device.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._graphs: dict[tuple[int, ...], torch.cuda.CUDAGraph | None] = {}
        self._memory = torch.cuda.graph_pool_handle()  # the graphs run one at a time, so they share memory

    def __call__(self, *sizes: int) -> None:
        """Do the function's work."""
        if sizes not in self._graphs:
            self._graphs[sizes] = None
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                self._function(*sizes)
            torch.cuda.current_stream().wait_stream(beside)
            return
        graph = self._graphs[sizes]
        if graph is None:
            graph = self._graphs[sizes] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._memory):
                self._function(*sizes)
        graph.replay()
