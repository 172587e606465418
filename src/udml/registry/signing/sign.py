"""Signing a version with the library `model-signing`, by a private key on an elliptic curve."""

import os
from pathlib import Path

from udml.errors import UdmlError, install_hint, reason
from udml.files import atomic_path, read_regular
from udml.registry import store
from udml.registry.signing.check import Key, require_signed, signature_file

PASSWORD_VARIABLE = "UDML_SIGNING_PASSWORD"


def sign(models: Path, name: str, private_key: Path) -> Path:
    """Sign a version, once it is known to be what was registered; returns the signature's file.

    Args:
        models: the registry's directory.
        name: "v1", "v2", ...
        private_key: PEM, on P-256, P-384 or P-521; the variable `PASSWORD_VARIABLE` holds its password.

    Raises:
        UdmlError: if there is no such version, it is not what was registered, the key is none, or
            `model-signing` is missing.
    """
    try:
        from model_signing.signing import Config
    except ModuleNotFoundError as error:
        raise UdmlError(f"signing needs {error.name}", install_hint("sign")) from error
    store.verify(models, name)
    public = _public_half(private_key)
    path = signature_file(models, name)
    path.parent.mkdir(exist_ok=True)
    password = os.environ.get(PASSWORD_VARIABLE)
    signer = Config().use_elliptic_key_signer(
        private_key=private_key,
        password=password.encode() if password else None,  # type: ignore[arg-type]
    )
    with atomic_path(path) as temporary:
        signer.sign(store.version_directory(models, name), temporary)
    require_signed(models, name, public)
    return path


def _public_half(private_key: Path) -> Key:
    """What will check the signature.

    Raises:
        UdmlError: if the file holds no private key that signs here, or its password is another one.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD_VARIABLE)
    made = "`openssl ecparam -name prime256v1 -genkey -noout -out KEY` makes one"
    try:
        key = load_pem_private_key(read_regular(private_key), password.encode() if password else None)
    except OSError as error:
        raise UdmlError(f"{private_key} can't be read: {reason(error)}", "check the path") from error
    except TypeError as error:  # one is needed, or none is
        raise UdmlError(f"{private_key}: {error}", f"${PASSWORD_VARIABLE} is its password") from error
    except Exception as error:  # that library has several kinds, a wrong password among them
        what = "can't be opened with this password" if password else "holds no private key in PEM"
        raise UdmlError(f"{private_key} {what}", made) from error
    curves = ("secp256r1", "secp384r1", "secp521r1")
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in curves:
        raise UdmlError(f"{private_key} is no key on the curves P-256, P-384 or P-521", made)
    return Key(private_key.name, key.public_key())
