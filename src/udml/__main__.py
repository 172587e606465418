"""`python -m udml` is the command `udml`; `torchrun -m udml train` needs it."""

import sys

from udml.cli import main

sys.exit(main())
