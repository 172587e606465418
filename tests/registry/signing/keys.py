"""Keys to sign with."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def write_keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None, password: str = "") -> Path:
    """A private key, its public half beside it as .pub."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path
