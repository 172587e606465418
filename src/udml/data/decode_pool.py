"""Decode shards, wherever the work is done."""

from udml.compute.local import run_here
from udml.compute.work import Count, Place, Run, Work
from udml.data.decoding import ShardTask, decode_shard


def decode_shards(tasks: list[ShardTask], run: Run = run_here) -> None:
    """Run every task that an earlier run has not finished.

    Raises:
        UdmlError: if a data shard cannot be read, or a worker died (most likely for want of memory). What is
            finished by then is kept.
    """
    work: Work[None, ShardTask] = Work(
        description="prepare",
        open=_nothing,
        do=_decode,
        is_done=ShardTask.finished,
        size=_files,
        relief="lower prepare.max_pixels in params.yaml or free memory",
    )
    run(work, tasks)


def _nothing(_: Place) -> None:
    return None


def _decode(_: None, task: ShardTask, count: Count) -> None:
    decode_shard(task, lambda: count(1))


def _files(task: ShardTask) -> int:
    return len(task.image_id)
