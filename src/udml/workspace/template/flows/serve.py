"""Retrain on a schedule: register the deployment with the Prefect server, and run what falls due.

    python flows/serve.py --cron "0 3 * * *"

The time is that of the machine's time zone, or of `--timezone Europe/Berlin`; see docs/retraining.md.
"""

from udml.flows.serve import main

if __name__ == "__main__":
    main()
