"""`params.yaml` as frozen, typed values. Unknown or contradictory keys are refused."""

from udml.config.notify import Notify
from udml.config.parse import PARAMS_FILE, load_params, parse_params, parse_section, section_as_made
from udml.config.sections import Evaluate, Export, Index, Monitor, Params, Prepare, Retrain, Validate
from udml.config.train import LOSS_SETTINGS, Train

__all__ = [
    "LOSS_SETTINGS", "PARAMS_FILE", "Evaluate", "Export", "Index", "Monitor", "Notify", "Params", "Prepare",
    "Retrain", "Train", "Validate", "load_params", "parse_params", "parse_section", "section_as_made",
]  # fmt: skip
