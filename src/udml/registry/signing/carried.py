"""Signatures on a DVC remote: REMOTE/udml-models/signatures/v3.sig, beside the versions that they are of."""

from pathlib import Path

from udml.files import atomic_path, read_regular
from udml.registry import store
from udml.registry.remote import Remote, failing
from udml.registry.signing.check import signature_file


def push_signatures(models: Path, remote: Remote, names: list[str]) -> list[str]:
    """Copy signatures to the remote that it lacks, or has others of; returns whose.

    Raises:
        UdmlError: if the remote fails.
    """
    copied = []
    with failing(remote):
        for name in names or store.version_names(models):
            path, there = signature_file(models, name), _there(remote, name)
            if not path.exists():
                continue
            content = read_regular(path)
            if remote.fs.exists(there) and remote.fs.cat_file(there) == content:
                continue
            remote.fs.makedirs(remote.fs.parent(there), exist_ok=True)
            remote.fs.put_file(str(path), there)
            copied.append(name)
    return copied


def pull_signatures(models: Path, remote: Remote, names: list[str]) -> list[str]:
    """Copy signatures from the remote of versions that are here and have none; returns whose.

    Whether they are right is for `require_signed` to say, whose key does not come from there.

    Raises:
        UdmlError: if the remote fails.
    """
    copied = []
    with failing(remote, pulling=True):
        for name in names or store.version_names(models):
            path = signature_file(models, name)
            if path.exists() or not remote.fs.exists(_there(remote, name)):
                continue
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(remote.fs.cat_file(_there(remote, name)))
            copied.append(name)
    return copied


def _there(remote: Remote, name: str) -> str:
    return remote.fs.join(remote.root, "signatures", f"{name}.sig")
