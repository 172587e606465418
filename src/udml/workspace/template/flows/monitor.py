"""`udml monitor` as a Prefect flow: whether new images drift from what a model knows.

    python -m flows.monitor FOLDER [VERSION [OUT]]

runs it once, in this process.
"""

import sys

if __name__ == "__main__":
    from udml.flows.start import require_monitor

    require_monitor("python -m flows.monitor FOLDER [VERSION [OUT]]")

from udml.flows.monitor import main, monitor

__all__ = ["monitor"]

if __name__ == "__main__":
    sys.exit(main())
