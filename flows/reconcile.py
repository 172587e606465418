"""Close retraining runs that a killed server or worker left RUNNING on the Prefect server.

    python -m flows.reconcile

`flows/serve.py` does this by itself; run it before `prefect worker start`. It takes a minute.
"""

from udml.flows.reconcile import main

if __name__ == "__main__":
    main()
