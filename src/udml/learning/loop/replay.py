"""Work on a GPU, recorded once as a CUDA graph and then replayed.

A training step is some thousand kernels of a few microseconds each. Python asks for them more slowly than a
large GPU runs them; a recorded step is asked for at once.
"""

from collections.abc import Callable

import torch

from udml.errors import UdmlError

_WARM_UPS = 3  # kernels are compiled and chosen in them


class Replay:
    """`work`, a function of tensors on the GPU, as one CUDA graph.

    The first calls run it as it is, the next one records it; every call does its work once. What it reads
    and changes besides its inputs (weights, an optimiser's state) must stay at its place in memory, and it
    must not wait for a figure from the GPU.
    """

    def __init__(self, work: Callable[..., torch.Tensor]) -> None:
        self._work = work
        self._stream = torch.cuda.Stream()
        self._warm_ups = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """What `work` returns for inputs of the same shapes as the first time.

        Raises:
            UdmlError: if it can't be recorded.
        """
        if self._warm_ups < _WARM_UPS:
            self._warm_ups += 1
            return self._aside(inputs)
        if self._graph is None:
            self._graph = self._record(inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output.clone()

    def _aside(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Run it on the stream that will record it."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            output = self._work(*inputs)
        current.wait_stream(self._stream)
        return output

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(given.clone() for given in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads may go on to make batches meanwhile
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._output = self._work(*self._inputs)
        except RuntimeError as error:
            raise UdmlError(
                f"a training step with this backbone can't be recorded on the GPU: {error}",
                "choose another train.backbone, or train.loss=contrastive, whose steps are not recorded",
            ) from error
        return graph
