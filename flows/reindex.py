"""Keep the champion's collection up to date with a folder, without training, as a Prefect flow.

    python -m flows.reindex FOLDER

adds what is new in the folder and, when much has been added or removed since the index was built,
folds it into a new version. Each is safe to run again after it was killed: what was added stays.
"""

import sys
from typing import Any

if __name__ == "__main__":
    from flows.start import require_folder

    require_folder("python -m flows.reindex FOLDER")

from prefect import flow, task
from prefect.client.schemas.objects import State

from flows.ending import exit_status
from flows.telling import and_tell
from udml.serving.engine import index_commands
from udml.walking.given import given_path

TIMEOUT_SECONDS = 24 * 3600
MIN_SHARE = 0.1  # an overlay is searched exactly: a tenth of the index costs about as much as the index


@flow(name="reindex", log_prints=True)
def reindex(folder: str, min_share: float = MIN_SHARE) -> State[Any] | None:
    """Add the images of `folder` that are not there yet; compact from this share of changes on."""

    def do() -> None:
        add(folder)
        compact(min_share)

    return and_tell(do, "reindex")


# What failed once fails again, the disk full or a path wrong, so there are no retries.
@task(timeout_seconds=TIMEOUT_SECONDS)
def add(folder: str) -> None:
    """Embed and add what is new."""
    index_commands.add([given_path(folder)])


@task(timeout_seconds=TIMEOUT_SECONDS)
def compact(min_share: float) -> None:
    """Fold the changes into a new version, if they are many, and promote it."""
    index_commands.compact(min_share)


if __name__ == "__main__":
    sys.exit(exit_status(reindex(sys.argv[1], return_state=True)))
