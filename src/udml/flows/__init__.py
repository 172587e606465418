"""Prefect flows over the pipeline's own commands; no logic of their own."""

import os

# Prefect reads these when it is imported. Where no server is named, it starts a temporary one, which may take
# longer on a busy machine than the 20 seconds that Prefect allows; nothing phones home.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
