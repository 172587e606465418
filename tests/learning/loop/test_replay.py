from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from udml.errors import UdmlError
from udml.learning.loop.replay import Replay


def test_a_step_that_cannot_be_recorded_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the GPU; `test_gpu.py` has what works, on a real one."""

    @contextmanager
    def refuse(*_: Any, **__: Any) -> Any:
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda own: nullcontext(),
        "CUDAGraph": object,
        "graph": refuse,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    replay = Replay(lambda x: x + 1)
    for value in range(3):  # as it is, at first
        assert float(replay(torch.tensor(float(value)))) == value + 1
    with pytest.raises(UdmlError, match="can't be recorded on the GPU: operation not permitted") as caught:
        replay(torch.tensor(3.0))
    assert "train.loss=contrastive" in str(caught.value)
