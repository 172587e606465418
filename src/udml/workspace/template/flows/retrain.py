"""Retrain on what is new, and promote the result if it is better; see docs/retraining.md.

    python -m flows.retrain

runs it once, in this process, on the workspace it is started in.
"""

import sys

if __name__ == "__main__":
    from udml.flows.start import require_settings

    require_settings()

from udml.flows.retrain import main, retrain

__all__ = ["retrain"]

if __name__ == "__main__":
    sys.exit(main())
