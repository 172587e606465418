"""`udml models ...`: what each of its commands prints."""

from pathlib import Path
from typing import Any

from udml.files import atomic_path, read_json
from udml.registry import compare, remote, store
from udml.registry.bundle import METRICS_FILE, PROTOCOLS_FILE, read_bundle, workspace_sources
from udml.registry.judged.models import kept_figure
from udml.registry.signing.carried import pull_signatures, push_signatures
from udml.registry.signing.check import read_key, require_signed
from udml.text import readable

# the figure shown in the list: the first of these that a version has
_HEADLINES = (
    ("MAP@R", "query_gallery", "map_at_r"),
    ("MAP@R", "leave_one_out", "map_at_r"),
    ("neighbours found again", "label_free", "neighbours_found_again"),
    ("found again", "label_free", "found_again_at_1"),  # of versions before udml had the line above
)


def register(models: Path) -> None:
    """Keep the workspace's present model as a version."""
    bundle = store.register(models, workspace_sources())
    print(f"registered {bundle.name}: model {bundle.model_version}, {bundle.images:,} images")
    print(f"Make it the champion:  udml models promote {bundle.name}")


def show_list(models: Path) -> None:
    """One line for each version, the champion marked."""
    champion = store.champion_name(models)
    found = store.versions(models)
    if not found:
        print("no versions yet: `udml models register` keeps the workspace's model as one")
    for bundle in found:
        mark = "*" if bundle.name == champion else " "
        figure = headline(store.version_directory(models, bundle.name))
        print(f"{mark} {bundle.name:5} {bundle.created}  {bundle.images:>9,} images  {figure}")


def show(models: Path, name: str) -> None:
    """Everything that a version says of itself."""
    directory = store.version_directory(models, name)
    bundle = read_bundle(directory)
    facts = vars(bundle) | {
        "images": f"{bundle.images:,}",
        "figure": headline(directory),
        "measured": how_measured(directory),
        "judged": kept_figure(models, bundle.model_version),
    }
    for key, value in facts.items():
        if key != "files" and value is not None:
            print(f"{key.replace('_', ' '):14} {value}")
    for path, file in bundle.files.items():
        print(f"{'file':14} {path}  {file.size_bytes:,} bytes  sha256 {file.sha256[:16]}")


def card(models: Path, name: str) -> None:
    """A version's model card, in Markdown."""
    from udml.registry.describing.card import make_card

    print(make_card(models, name), end="")


def lineage(models: Path, name: str, out: Path | None) -> None:
    """Write the page of where a version came from."""
    from udml.registry.describing.lineage import make_lineage

    html = make_lineage(models, name)
    path = out or Path(f"{store.version_directory(models, name).name}-lineage.html")
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"open {path.resolve().as_uri()}")


def report(models: Path) -> None:
    """The challenge as Markdown."""
    from udml.registry.challenge import challenge
    from udml.registry.describing.comment import as_comment

    print(as_comment(challenge(models)))


def diff(models: Path, before: str, after: str) -> None:
    """Settings, figures and neighbours that two versions don't share."""
    old, new = (store.version_directory(models, name) for name in (before, after))
    for title, found in (
        ("settings", compare.differing_params(old, new)),
        ("figures", compare.differing_metrics(old, new)),
    ):
        print(f"{title}: {'' if found else 'the same'}")
        for key, values in found.items():
            print(f"  {key:46} {_short(values[0]):>12} -> {_short(values[1]):>12}")
    share = compare.shared_neighbours(old, new)
    print(f"neighbours: {100 * share:.1f} % of an image's ten nearest are the same")


def promote(models: Path, name: str, reason: str) -> None:
    """Make a version the champion."""
    print(f"the champion is {store.promote(models, name, reason).name}")


def rollback(models: Path, reason: str) -> None:
    """Make the last champion the champion again."""
    print(f"the champion is {store.rollback(models, reason).name} again")


def challenge(models: Path) -> None:
    """Say whether the workspace's model would be promoted, and why."""
    from udml.registry.challenge import RESULT, challenge

    result = challenge(models)
    columns = list(result.table[0])
    for row in [dict(zip(columns, columns, strict=True)), *result.table]:
        print("  ".join(row.get(column, "").ljust(max(16, len(column))) for column in columns).rstrip())
    print(f"\n{result.reason}\nin full: {RESULT}")


def verify(models: Path, names: list[str], key: Path | None) -> None:
    """Compare versions with what was registered, and what a key signed; all of them if none is named."""
    known = None if key is None else read_key(key)
    for given in names or store.version_names(models):
        name = store.version_directory(models, given).name
        bundle = store.verify(models, name)
        if known is not None:
            require_signed(models, name, known)
        signed = "" if known is None else f", signed with the key of {known.name}"
        print(f"{name}: all {len(bundle.files)} files are what was registered{signed}")


def sign(models: Path, name: str, key: Path) -> None:
    """Sign a version."""
    from udml.registry.signing.sign import sign

    path = sign(models, store.version_directory(models, name).name, key)
    print(f"signed {path.stem}: {path}")


def push(models: Path, names: list[str]) -> None:
    """Copy versions to the default DVC remote."""
    opened = remote.open_remote(Path())
    _say_copied(remote.push(models, opened, names), f"pushed to {opened.url}")
    _say_signed(push_signatures(models, opened, names))


def pull(models: Path, names: list[str]) -> None:
    """Copy versions from the default DVC remote."""
    opened = remote.open_remote(Path())
    _say_copied(remote.pull(models, opened, names), f"pulled from {opened.url}")
    _say_signed(pull_signatures(models, opened, names))


def _say_copied(names: list[str], what: str) -> None:
    print(f"{what}: {', '.join(names) or 'nothing, both have the same versions'}")


def _say_signed(names: list[str]) -> None:
    if names:
        print(f"with signatures of {', '.join(names)}")


def show_log(models: Path) -> None:
    """What happened, oldest first."""
    for event in store.events(models):
        print(f"{event['time']}  {event['event']:9} {event['version']:5} {event['reason']}".rstrip())


def headline(directory: Path) -> str:
    """A version's most telling figure, in percent, with the frozen backbone's."""
    metrics = read_json(directory / METRICS_FILE)
    for title, block, key in _HEADLINES:
        if block in metrics["trained"]:
            trained, frozen = (100 * metrics[kind][block][key] for kind in ("trained", "frozen"))
            return f"{title} {trained:.1f} % (frozen {frozen:.1f} %)"
    return ""


def how_measured(directory: Path) -> str | None:
    """How the figure of `headline` came about; None where the version does not say."""
    if (directory / PROTOCOLS_FILE).exists():
        words = read_json(directory / PROTOCOLS_FILE)["trained"]
    else:  # registered when they stood among the figures
        words = {
            name: found["protocol"]
            for name, found in read_json(directory / METRICS_FILE)["trained"].items()
            if "protocol" in found
        }
    return next((words[block] for _, block, _ in _HEADLINES if block in words), None)


def _short(value: Any) -> str:
    return readable(value, 4) if isinstance(value, float) else str(value)
