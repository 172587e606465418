"""What an operator may set on the service; the command line's options, one to one."""

from dataclasses import dataclass
from pathlib import Path

from udml.errors import UdmlError
from udml.serving.addresses import Network, parse_networks


@dataclass(frozen=True)
class Settings:
    """Limits and doors of the service.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        keys: file of API keys; with one, every route under /v1 needs a key.
        open_reads: reading needs no key even with `keys`.
        open_writes: adding and removing needs no key.
        requests_per_minute: of one key, else of one address; 0 is no limit.
        max_upload_bytes: of one request's body.
        max_pixels: width x height of one image; read from its header, before it is decoded.
        max_waiting: images that may wait for decoding and embedding; further ones get 503.
        deadline_seconds: a request that takes longer gets 503 (408 where its body is what is late).
        allowed_origins: other web sites whose pages may call the API (CORS).
        allowed_hosts: names that the service answers to besides local ones, such as a proxy passes on.
        trusted_proxies: networks whose word on where a request comes from counts.
        require_signature: file of the public key that must have signed what serves; read at the start.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    open_reads: bool = False
    open_writes: bool = False
    requests_per_minute: int = 3000
    max_upload_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_waiting: int = 64
    deadline_seconds: float = 10.0
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    require_signature: Path | None = None

    def __post_init__(self) -> None:
        for name in ("max_upload_bytes", "max_pixels", "max_waiting", "deadline_seconds"):
            if not getattr(self, name) > 0:  # NaN compares false
                raise UdmlError(f"{name} is {getattr(self, name)}", "it must be above 0")
        if not 0 <= self.port <= 65535:
            raise UdmlError(f"port is {self.port}", "it must be between 0 and 65535")
        if self.requests_per_minute < 0:
            raise UdmlError(f"requests_per_minute is {self.requests_per_minute}", "0 is no limit")
        parse_networks(self.trusted_proxies)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The trusted proxies, parsed."""
        return parse_networks(self.trusted_proxies)
