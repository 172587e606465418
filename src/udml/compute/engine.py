"""Which engine does the work: `compute` in params.yaml says so, and no stage knows."""

from functools import partial

from udml.compute.local import run_here
from udml.compute.work import Run
from udml.config import Compute


def engine_of(settings: Compute, module: str = "", each_core: bool = False) -> Run:
    """What does the work: this machine, or the Ray cluster of `settings`, which is joined.

    Its nodes get ready from now on: ask for it before loading what else a stage needs.

    Args:
        settings: which of them.
        module: what workers of the first kind of work need; see `udml.compute.looking`.
        each_core: whether they are one a core.

    Raises:
        UdmlError: if it is to be Ray, and that is not installed, or there is no such cluster.
    """
    if settings.engine == "local":
        return run_here
    from udml.compute.on_ray import get_ready_on_ray, run_on_ray

    get_ready_on_ray(settings.address, module, each_core)
    return partial(run_on_ray, settings.address)
