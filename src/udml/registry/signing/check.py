"""Whether a version is what somebody signed, by a public key.

A signature is a sigstore bundle as `model-signing` writes it: a DSSE envelope around an in-toto statement
that names every file with its sha256. It is checked here rather than by that library, which loads sigstore,
its network clients and 800 modules for it, and lets files pass that git keeps for itself. Tests hold both to
the same verdicts.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udml.errors import UdmlError, install_hint, reason
from udml.files import read_regular, sha256_file
from udml.registry.bundle import MANIFEST_FILE, Bundle, read_bundle
from udml.registry.store import VERSIONS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SIGNATURES = "signatures"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


@dataclass(frozen=True)
class Key:
    """A public key on one of the curves P-256, P-384 and P-521.

    Attributes:
        name: of the file that it came from.
        key: as `cryptography` has it.
    """

    name: str
    key: "EllipticCurvePublicKey"

    @property
    def hash_name(self) -> str:
        """The hash that goes with its curve, as `cryptography` names it."""
        return _HASHES[self.key.curve.name]


def signature_file(models: Path, name: str) -> Path:
    """Where the signature of a version is: beside the versions, which never change."""
    return models / SIGNATURES / f"{name}.sig"


def read_key(path: Path) -> Key:
    """A public key in PEM.

    Raises:
        UdmlError: if it is none, or on another curve, or `cryptography` is missing.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError as error:
        raise UdmlError("checking signatures needs cryptography", install_hint("sign")) from error
    hint = "`openssl ec -in KEY -pubout` prints the public half of a private key"
    try:
        key = load_pem_public_key(read_regular(path))
    except OSError as error:
        raise UdmlError(f"{path} can't be read: {reason(error)}", "check the path") from error
    except Exception as error:  # that library has several kinds
        raise UdmlError(f"{path} holds no public key in PEM", hint) from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise UdmlError(f"{path} is no key on the curves P-256, P-384 or P-521", "see docs/signing.md")
    return Key(path.name, key)


def require_signed(models: Path, name: str, key: Key) -> None:
    """Refuse a version whose manifest, or any file that it names, is not what was signed.

    That the files are those of the manifest, and none was added, is what `store.verify` tells.

    Raises:
        UdmlError: if it is not signed, by another key, or something else was signed.
    """
    directory = models / VERSIONS / name
    bundle, path = read_bundle(directory), signature_file(models, name)
    if not path.exists():
        raise UdmlError(
            f"{name} is not signed: there is no {path}", f"`udml models sign {name} --key PRIVATE` signs it"
        )
    statement = _signed_statement(path, name, key)
    _check_subject(statement, name, path)
    _check_files(statement, bundle, directory)


def _signed_statement(path: Path, name: str, key: Key) -> dict[str, Any]:
    """What the signature is of, once it is known to be by the key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        envelope = json.loads(read_regular(path))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        [signed] = envelope["signatures"]
        signature = base64.b64decode(signed["sig"], validate=True)
        if envelope["payloadType"] != _PAYLOAD_TYPE:
            raise ValueError("its kind is another one")
        key.key.verify(signature, _dsse(payload), ECDSA(getattr(hashes, key.hash_name)()))
        statement = json.loads(payload)
        if not isinstance(statement, dict) or statement["predicateType"] != _PREDICATE:
            raise ValueError("it is not of a model")
    except InvalidSignature as error:
        raise UdmlError(f"{path} was not made with the key of {key.name}", "do not use it") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise UdmlError(f"{path} is no signature: {reason(error)}", f"sign {name} again") from error
    return statement


def _dsse(payload: bytes) -> bytes:
    """What is signed: kind and content, each with its length (DSSE, version 1)."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _check_subject(statement: dict[str, Any], name: str, path: Path) -> None:
    try:
        [subject] = statement["subject"]
        signed = subject["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise UdmlError(f"{path} does not say what it is of", f"sign {name} again") from error
    if signed != name:
        raise UdmlError(f"{path} is the signature of {signed}, not of {name}", f"sign {name} again")


def _check_files(statement: dict[str, Any], bundle: Bundle, directory: Path) -> None:
    try:
        resources = statement["predicate"]["resources"]
        signed = {one["name"]: one["digest"] for one in resources if one["algorithm"] == "sha256"}
        if len(signed) != len(resources):
            raise ValueError("two files of one name")
    except (ValueError, KeyError, TypeError) as error:
        raise UdmlError(f"the signature of {bundle.name} does not name its files", "sign it again") from error
    registered = {path: record.sha256 for path, record in bundle.files.items()}
    registered[MANIFEST_FILE] = sha256_file(directory / MANIFEST_FILE)
    wrong = [f"{path} is missing" for path in sorted(signed.keys() - registered.keys())]
    wrong += [f"{path} was not signed" for path in sorted(registered.keys() - signed.keys())]
    wrong += [f"{p} was changed" for p in sorted(signed.keys() & registered) if signed[p] != registered[p]]
    if wrong:
        raise UdmlError(f"{bundle.name} is not what was signed: {'; '.join(wrong)}", "use another version")
