"""Retrain on a schedule: register the deployment with the Prefect server, and run what falls due.

    python flows/serve.py --cron "0 3 * * *"

One run at a time: a run that falls due while another is going is cancelled, and what piled up while nobody
served finds nothing new. See docs/retraining.md for the server's own command.
"""

import argparse
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, from anywhere

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows.reconcile import DEPLOYMENT, keep_reconciling
from flows.retrain import retrain


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Retrain on a schedule.")
    parser.add_argument("--cron", required=True, help='when, for example "0 3 * * *": every night at three')
    options = parser.parse_args()
    threading.Thread(target=keep_reconciling, daemon=True).start()
    retrain.serve(
        name=DEPLOYMENT,
        cron=options.cron,
        limit=1,
        global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
    )


if __name__ == "__main__":
    main()
