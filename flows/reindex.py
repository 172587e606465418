"""Keep the champion's collection up to date with a folder, without training, as a Prefect flow.

    python -m flows.reindex FOLDER

adds what is new in the folder and, when much has been added or removed since the index was built,
folds it into a new version.
"""

import sys

if __name__ == "__main__":
    from udml.flows.start import require_folder

    require_folder("python -m flows.reindex FOLDER")

from udml.flows.reindex import main, reindex

__all__ = ["reindex"]

if __name__ == "__main__":
    sys.exit(main())
