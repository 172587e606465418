"""Commands of the service: `serve`, and `keys`, which says who may use it."""

import argparse
import os
from pathlib import Path

from udml import paths
from udml.cli.common import Commands, add_to, at_least_one, given_path
from udml.cli.shared import add_store_arguments, store_of


def add_service(commands: Commands) -> None:
    """Add `serve` and `keys`."""
    _add_serve(commands)
    _add_keys(commands)


def _add_serve(commands: Commands) -> None:
    from udml.serving.service.settings import Settings

    default = Settings()
    text = "serve the champion: an HTTP API and a web page to search with"
    command = add_to(commands, "serve", _serve, text)
    command.description = (
        f"{text}. A promotion or a rollback is followed at once; no request is dropped. Reading is open to "
        "whoever can reach the address, adding and removing is off, unless options below say otherwise. "
        "docs/serving.md tells the rest."
    )
    add = command.add_argument
    add("--host", default=default.host, help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=int, default=default.port, help="default: %(default)s; 0 takes a free one")
    add_store_arguments(command)
    add(
        "--keys",
        type=given_path,
        metavar="FILE",
        help="every request needs a key of this file; see `udml keys`",
    )
    add("--open-reads", action="store_true", help="searching needs no key even with --keys")
    add("--open-writes", action="store_true", help="adding and removing images needs no key")
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="web site whose pages may call the API",
    )
    add(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="name that it answers to besides local ones, where a proxy passes Host on",
    )  # fmt: skip
    add(
        "--trusted-proxy", action="append", default=[], metavar="NET",
        help="network of a proxy that is believed about where a request comes from; see docs/serving.md",
    )  # fmt: skip
    add(
        "--require-signature", type=given_path, metavar="KEY",
        help="serve only versions that this public key's owner signed; see docs/signing.md",
    )  # fmt: skip
    add(
        "--requests-per-minute", type=int, default=default.requests_per_minute, metavar="N",
        help="of one key, else of one address; 0 is no limit (default: %(default)s)",
    )  # fmt: skip
    add(
        "--max-upload-mib", type=at_least_one, default=default.max_upload_bytes >> 20, metavar="N",
        help="of one request (default: %(default)s)",
    )  # fmt: skip
    add(
        "--max-megapixels", type=at_least_one, default=default.max_pixels // 10**6, metavar="N",
        help="of one image, checked before it is decoded (default: %(default)s)",
    )  # fmt: skip
    add(
        "--max-waiting", type=at_least_one, default=default.max_waiting, metavar="N",
        help="images that may wait; further requests get 503 (default: %(default)s)",
    )  # fmt: skip
    add(
        "--deadline-seconds", type=float, default=default.deadline_seconds, metavar="N",
        help="a request that takes longer gets 503 (default: %(default)s)",
    )  # fmt: skip


def _serve(options: argparse.Namespace) -> None:
    # FAISS's threads would spin for a while after each search; a service has other work for the cores. It is
    # read once, when FAISS is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from udml.serving.serve import serve
    from udml.serving.service.settings import Settings

    settings = Settings(
        host=options.host,
        port=options.port,
        keys=options.keys,
        open_reads=options.open_reads,
        open_writes=options.open_writes,
        requests_per_minute=options.requests_per_minute,
        max_upload_bytes=options.max_upload_mib << 20,
        max_pixels=options.max_megapixels * 10**6,
        max_waiting=options.max_waiting,
        deadline_seconds=options.deadline_seconds,
        allowed_origins=tuple(options.allow_origin),
        allowed_hosts=tuple(options.allow_host),
        trusted_proxies=tuple(options.trusted_proxy),
        require_signature=options.require_signature,
    )
    serve(settings, paths.MODELS, paths.DATA, store_of(options, paths.MODELS))


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="make, list and remove API keys of `udml serve`")
    actions = keys.add_subparsers(required=True, metavar="ACTION", dest="action")
    command = add_to(actions, "add", _keys, "make a key; it is shown once and kept only as its hash")
    command.add_argument("name", help="whose key it is")
    add_to(actions, "list", _keys, "names of the keys there are")
    command = add_to(actions, "remove", _keys, "forget a key; a running service refuses it within a second")
    command.add_argument("name", help="whose key it is")
    for command in actions.choices.values():
        command.add_argument(
            "--file", type=given_path, default=Path("keys.json"), help="default: %(default)s"
        )


def _keys(options: argparse.Namespace) -> None:
    from udml.serving.http import keys

    match options.action:
        case "add":
            print(keys.add_key(options.file, options.name))
        case "list":
            print("\n".join(keys.read_keys(options.file)))
        case "remove":
            keys.remove_key(options.file, options.name)
