"""Where each stage's files live in a workspace, relative to its top. `dvc.yaml` names the same."""

from pathlib import Path

DATA = Path("data")
ARTIFACTS = Path("artifacts")
PREPARED = ARTIFACTS / "prepare"
VALIDATED = ARTIFACTS / "validate"
TRAINED = ARTIFACTS / "train"
LIVE = ARTIFACTS / "live"
EXPORTED = ARTIFACTS / "export"
INDEXED = ARTIFACTS / "index"
REPORT = ARTIFACTS / "report"
PLOTS = ARTIFACTS / "plots"
METRICS = ARTIFACTS / "metrics.json"
PROTOCOLS = ARTIFACTS / "protocols.json"
MODEL = EXPORTED / "model.onnx"
MODELS = Path("models")
