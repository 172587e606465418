"""Settings of `notify`: who is told how a run ended. No stage depends on them."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from udml.config.checks import invalid
from udml.errors import UdmlError

EVENTS = ("promoted", "refused", "failed", "drift", "skipped")
REFERENCES = ("env:", "file:")  # where something that is nobody's business is kept


@dataclass(frozen=True)
class Notify:
    """Who is told of what.

    Attributes:
        url: where JSON is posted; `env:NAME` or `file:PATH` where the address itself is a secret.
        secret: `env:NAME` or `file:PATH` of what signs it; None for no signature.
        command: a program and its arguments, which gets the JSON on its standard input; () for none.
        events: what is told of; of `EVENTS`.
    """

    url: str | None = None
    secret: str | None = None
    command: tuple[str, ...] = ()
    events: tuple[str, ...] = ("promoted", "refused", "failed", "drift")

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(REFERENCES) and not is_address(self.url):
            raise invalid(self, "url", "must be an http:// or https:// address, env:NAME or file:PATH")
        if self.secret is not None and not self.secret.startswith(REFERENCES):
            raise UdmlError(  # which is not shown: it may be the secret itself
                "notify.secret must be env:NAME or file:PATH, as every version keeps these settings",
                "mend it in params.yaml",
            )
        if self.secret is not None and self.url is None:
            raise invalid(self, "secret", "signs what goes to notify.url, which is not set")
        if self.command and not self.command[0]:
            raise invalid(self, "command", "must begin with the name of a program")
        if unknown := set(self.events) - set(EVENTS):
            raise invalid(self, "events", f"names {sorted(unknown)[0]}; there are {', '.join(EVENTS)}")


def is_address(url: str) -> bool:
    """Whether it is an http or https address of some host, without a password in it."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0 and parts.username is None
        return parts.scheme in ("http", "https") and named
    except ValueError:
        return False
