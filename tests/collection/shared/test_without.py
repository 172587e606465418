"""Where pymilvus is not installed, nothing misses it but what needs it."""

import subprocess
import sys

from tests.conftest import ROOT

_CODE = """
import sys
sys.modules.update(dict.fromkeys(("pymilvus", "milvus_lite", "fsspec", "grpc")))
import udml.serving.http.app, udml.serving.serve, udml.serving.engine.shared, udml.serving.engine.pointing
from udml.cli import main
assert main(["serve", "--help"] if False else ["serve", "--store", "milvus"]) == 1
assert main(["serve", "--uri", "http://127.0.0.1:1"]) == 1
assert main(["serve", "--port", "0", "--store", "milvus", "--uri", "http://127.0.0.1:1"]) == 1
assert not {"torch", "pandas", "pyarrow"} & {name for name, module in sys.modules.items() if module}
"""


def test_the_service_needs_pymilvus_only_for_milvus(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert any("--uri" in line for line in said)
    assert any("add --store milvus" in line for line in said)
    assert any("Milvus needs pymilvus" in line for line in said)
    assert str(ROOT) not in done.stderr  # no traceback
