"""Retrain on a schedule: register the deployment with the Prefect server, and run what falls due.

The time is that of the machine's time zone, or of `--timezone Europe/Berlin`.
One run at a time: a run that falls due while another is going is cancelled, and what piled up while nobody
served finds nothing new. A server that has gone is waited for, and SIGTERM ends this within seconds with or
without it. See docs/retraining.md for the server's own command.
"""

import argparse

from udml.flows.start import in_a_sentence, require_settings


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Retrain on a schedule.")
    parser.add_argument("--cron", required=True, help='when, for example "0 3 * * *": every night at three')
    parser.add_argument("--timezone", metavar="ZONE", help="of that time (default: this machine's)")
    options = parser.parse_args()
    require_settings()
    from udml.flows.schedule import make_schedule
    from udml.flows.serving import serve_forever

    with in_a_sentence():
        schedule, due = make_schedule(options.cron, options.timezone)
    print(f"retraining at `{options.cron}`, {schedule.timezone}; next at {due:%Y-%m-%d %H:%M %z}", flush=True)
    serve_forever(schedule)
