"""`udml monitor` as a Prefect flow: whether new images drift from what a model knows.

    python -m flows.monitor FOLDER [VERSION [OUT]]

runs it once, in this process. Another flow calls `drift_verdict` to decide whether to retrain.
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from flows.start import in_a_sentence, require_folder
    from udml.config import Monitor
    from udml.registry.chosen import choose

    require_folder("python -m flows.monitor FOLDER [VERSION [OUT]]")
    with in_a_sentence():
        choose(sys.argv[2] if len(sys.argv) > 2 else None).settings(Monitor, "monitor")

from prefect import flow, task
from prefect.client.schemas.objects import State

from flows.artifacts import show_drift
from flows.ending import exit_status
from flows.telling import and_tell, tell_of_drift
from udml.files import read_json
from udml.monitor.monitor import monitor_workspace
from udml.registry.chosen import choose
from udml.walking.given import given_path

TIMEOUT_SECONDS = 6 * 3600


@flow(name="monitor", log_prints=True)
def monitor(folder: str, version: str | None = None, out: str = "drift.html") -> dict[str, Any] | State[Any]:
    """Test the images of a folder against a version; returns what `udml monitor` writes as JSON."""
    return and_tell(lambda: drift_verdict(given_path(folder), version, Path(out)), "monitor")


# The same images give the same verdict, so there are no retries.
@task(timeout_seconds=TIMEOUT_SECONDS)
def drift_verdict(path: Path, version: str | None = None, out: Path = Path("drift.html")) -> dict[str, Any]:
    """Say whether the images at `path` (a folder or a file) drift from what a version was made of.

    The version is, as for `udml monitor`, the champion, or before there is one, the workspace. The result
    stands in the run's artifacts too, and as a page with pictures at `out`.

    Returns:
        What `udml monitor` writes as JSON: "verdict" is "drift", "no drift" or "too few".

    Raises:
        UdmlError: if there is no such version, or no usable image.
    """
    chosen = choose(version)
    print(f"comparing with {chosen.described}")
    monitor_workspace([path], chosen.name, out)
    found = read_json(out.with_suffix(".json"))
    print(f"**{found['verdict']}**: {found['summary']} Pictures: {out.resolve()}")
    show_drift(found)
    tell_of_drift(found)
    return found


if __name__ == "__main__":
    sys.exit(exit_status(monitor(*sys.argv[1:], return_state=True)))
