"""Which engine does the work: `compute` in params.yaml says so, and no stage knows."""

from functools import partial

from udml.compute.local import run_here
from udml.compute.work import Run
from udml.config import Compute


def engine_of(settings: Compute) -> Run:
    """What does the work: this machine, or the Ray cluster of `settings`, joined when there is some.

    Raises:
        UdmlError: if it is to be Ray, and that is not installed.
    """
    if settings.engine == "local":
        return run_here
    from udml.compute.on_ray import require_ray, run_on_ray

    require_ray()
    return partial(run_on_ray, settings.address)
