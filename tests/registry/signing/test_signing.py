"""A version signed, tampered with and refused: by the check that serves, and by the library that signs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from model_signing.verifying import Config

from tests.registry.signing.keys import write_keys
from tests.registry.workspace import make_sources
from udml.errors import UdmlError
from udml.registry import commands, store
from udml.registry.remote import Remote
from udml.registry.signing.carried import pull_signatures, push_signatures
from udml.registry.signing.check import read_key, signature_file
from udml.registry.signing.sign import PASSWORD_VARIABLE, sign


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of two signed versions, with the keys beside it."""
    root = tmp_path_factory.mktemp("signed")
    key = write_keys(root, "ours")
    write_keys(root, "theirs")
    for seed in range(2):
        (root / f"made-{seed}").mkdir()
        store.register(root / "models", make_sources(root / f"made-{seed}", seed))
        sign(root / "models", f"v{1 + seed}", key)
    return root


@pytest.fixture
def signed(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


def accepts(root: Path, key: str = "ours") -> tuple[bool, str]:
    """Whether v1 is taken, and the sentence where it isn't."""
    try:
        commands.verify(root / "models", ["v1"], root / f"{key}.pub")
    except UdmlError as error:
        return False, str(error)
    return True, ""


def library_accepts(root: Path, key: str = "ours") -> bool:
    models = root / "models"
    verifier = Config().use_elliptic_key_verifier(public_key=root / f"{key}.pub")
    try:
        verifier.verify(models / "versions" / "v1", signature_file(models, "v1"))
    except Exception:  # it has several kinds
        return False
    return True


def change(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def reregistered(v1: Path, name: str) -> None:
    """A file changed by somebody who also mends the manifest and the log."""
    change(v1 / name, b"{}\n")
    manifest = json.loads((v1 / "bundle.json").read_text())
    from udml.registry.bundle import record

    manifest["files"][name] = vars(record(v1 / name))
    change(v1 / "bundle.json", json.dumps(manifest).encode())
    (v1.parent.parent / "log.jsonl").unlink()


def swap(v1: Path) -> None:
    signatures = v1.parent.parent / "signatures"
    shutil.copy(signatures / "v2.sig", signatures / "v1.sig")


def renamed(v1: Path) -> None:
    """All of v2, its signature too, as v1."""
    shutil.rmtree(v1)
    shutil.copytree(v1.parent / "v2", v1)
    (v1.parent.parent / "log.jsonl").unlink()
    swap(v1)


def cut(v1: Path) -> None:
    path = signature_file(v1.parent.parent, "v1")
    path.write_bytes(path.read_bytes()[:-40])


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a model changed": (lambda v1: change(v1 / "model.onnx", b"other"), "model.onnx was changed"),
    "an index changed": (lambda v1: change(v1 / "index" / "index.faiss", b""), "index.faiss was changed"),
    "figures changed": (lambda v1: change(v1 / "metrics.json", b"{}"), "metrics.json was changed"),
    "all of it mended": (lambda v1: reregistered(v1, "metrics.json"), "not what was signed: bundle.json was"),
    "a file added": (lambda v1: (v1 / "index" / "more").write_text("x") and None, "does not belong to it"),
    "a file removed": (lambda v1: (v1 / "dvc.lock").unlink(), "dvc.lock is missing"),
    "another version's signature": (swap, "is the signature of v2, not of v1"),
    "another version": (renamed, "is the signature of v2"),
    "half a signature": (cut, "is no signature"),
    "no signature": (lambda v1: signature_file(v1.parent.parent, "v1").unlink(), "is not signed"),
}


def test_a_signed_version_is_taken_by_both(signed: Path) -> None:
    assert accepts(signed) == (True, "")
    assert library_accepts(signed)


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_tampered_with_is_refused_by_both(how: str, signed: Path) -> None:
    tamper, sentence = TAMPERED[how]
    tamper(signed / "models" / "versions" / "v1")
    taken, said = accepts(signed)
    assert not taken
    assert sentence in said
    assert len(said.splitlines()) == 2  # what, and what to do
    if how != "another version":  # the library does not ask for the name of the folder
        assert not library_accepts(signed)


def test_the_library_lets_files_pass_that_git_keeps_and_the_check_does_not(signed: Path) -> None:
    (signed / "models" / "versions" / "v1" / ".gitignore").write_text("x")
    assert library_accepts(signed)
    assert accepts(signed) == (False, accepts(signed)[1])


def test_another_key_is_refused_by_both(signed: Path) -> None:
    taken, said = accepts(signed, "theirs")
    assert not taken
    assert "was not made with the key of theirs.pub" in said
    assert not library_accepts(signed, "theirs")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves_and_a_password(
    curve: ec.EllipticCurve, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = write_keys(signed, "ours", curve, "a password")
    with pytest.raises(UdmlError, match=PASSWORD_VARIABLE):
        sign(signed / "models", "v1", key)
    monkeypatch.setenv(PASSWORD_VARIABLE, "a password")
    sign(signed / "models", "v1", key)
    assert accepts(signed) == (True, "")
    assert library_accepts(signed)


def test_what_is_no_key(signed: Path) -> None:
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    koblitz = write_keys(signed, "koblitz", ec.SECP256K1())
    (signed / "edwards.pem").write_bytes(edwards)
    (signed / "text.pem").write_text("hello")
    for path, why in ((signed / "edwards.pem", "curves"), (koblitz, "curves"), (signed / "text.pem", "PEM")):
        with pytest.raises(UdmlError, match=why):
            sign(signed / "models", "v1", path)
    for path, why in ((koblitz.with_suffix(".pub"), "curves"), (signed / "ours.pem", "no public key")):
        with pytest.raises(UdmlError, match=why):
            read_key(path)
    assert accepts(signed) == (True, "")  # what was there before stays


def test_what_is_not_what_was_registered_is_not_signed(signed: Path) -> None:
    change(signed / "models" / "versions" / "v1" / "metrics.json", b"{}")
    with pytest.raises(UdmlError, match=r"metrics\.json was changed"):
        sign(signed / "models", "v1", signed / "ours.pem")


def test_signatures_travel_with_versions(signed: Path, tmp_path: Path) -> None:
    from dvc.fs import LocalFileSystem

    remote = Remote("store", LocalFileSystem(), str(tmp_path / "remote"))
    assert push_signatures(signed / "models", remote, []) == ["v1", "v2"]
    assert push_signatures(signed / "models", remote, []) == []
    signature_file(signed / "models", "v1").unlink()
    assert pull_signatures(signed / "models", remote, []) == ["v1"]
    assert accepts(signed) == (True, "")
