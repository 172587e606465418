"""A model card in Markdown (Mitchell et al., arXiv 1810.03993): for whoever is given a version."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from udml.evaluation.results import BASELINES
from udml.registry.describing.bom import LIMITS
from udml.registry.describing.markdown import row, table
from udml.registry.describing.origin import Origin, hash_of, imported, read_origin
from udml.registry.judged.models import kept_figure
from udml.text import printable

# Of the figures, in the order of the table; others are in metrics.json.
_TITLES = {
    "recall_at_1": "Recall@1",
    "map_at_r": "MAP@R",
    "r_precision": "R-precision",
    "nmi": "NMI",
    "ami": "AMI",
    "found_again_at_1": "Found again",
    "found_again_mrr": "Found again (MRR)",
    "effective_rank": "Effective rank",
}
_MODELS = ("frozen", "whitened", "trained")


def make_card(models: Path, name: str) -> str:
    """The card of a version.

    Raises:
        UdmlError: if there is no such version, or it is damaged.
    """
    origin = read_origin(models, name)
    parts = [
        f"# {origin.bundle.name}: an embedding for image retrieval",
        "Finds the images of a collection that are most like a picture. It was learned from images without "
        "labels (UDML-SS, arXiv 1911.07072).",
        _section("Model", table(("", ""), _model(origin))),
        _section("Training", *_training(origin)),
        _section("Figures", *_figures(origin), *_judged(models, origin)),
        _section("Limits", "\n".join(f"- {limit}" for limit in (*LIMITS, *_own_limits(origin)))),
        _section("Licence", *_licence(origin)),
        _section("Where it served", *_served(origin)),
        _section("To reproduce it", *_reproduce(origin)),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def _model(origin: Origin) -> Iterator[Sequence[object]]:
    bundle, card = origin.bundle, origin.card
    yield "version", f"{bundle.name}, registered {bundle.created}"
    yield "model", card.model_version
    yield "backbone", card.backbone
    yield "in", f"uint8 pictures of any size, RGB; the network sees {card.seen}"
    yield "out", f"{card.embedding_dim} numbers, of length 1; similarity is the cosine"
    yield "file", f"ONNX, preprocessing inside; sha256 {bundle.files['model.onnx'].sha256}"
    yield "index", f"{origin.index.get('kind', '')}, {bundle.images:,} images"
    if bundle.compacted_from:
        yield "compacted from", f"{bundle.compacted_from}, whose model and figures these are"
    yield "signed", "yes; `udml models verify --key` checks it" if origin.signed else "no"


def _training(origin: Origin) -> Iterator[str]:
    yield printable(origin.card.protocol)
    trained_on, indexed = origin.card.data_version, origin.bundle.data_version
    yield f"Images: version {trained_on} of the imported data; the index holds {indexed}."


def _figures(origin: Origin) -> Iterator[str]:
    """A table a protocol: the model beside the backbone that it started from."""
    shown = [kind for kind in _MODELS if kind in origin.metrics]
    titles = {kind: BASELINES.get(kind, "this model").removeprefix("the ").rstrip(",") for kind in shown}
    yield "Per cent (effective rank: dimensions), on test images that were not trained on."
    for protocol, found in origin.metrics.get("trained", {}).items():
        rows = []
        differences = origin.metrics.get("difference", {}).get(protocol, {})
        for name, title in _TITLES.items():
            if name in found:
                values = [origin.metrics[kind].get(protocol, {}).get(name) for kind in shown]
                ends = (
                    differences.get(name),
                    differences.get(f"{name}_low"),
                    differences.get(f"{name}_high"),
                )
                rows.append([title, *(_shown(name, value) for value in values), _difference(ends)])
        words = origin.protocols.get("trained", {}).get(protocol) or found.get("protocol")
        columns = ("figure", *titles.values(), "difference (95 % interval)")
        yield f"### {protocol.replace('_', ' ')}"
        yield printable(words) if isinstance(words, str) else ""
        yield table(columns, rows) if rows else ""


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name == "effective_rank" else f"{100 * value:.1f}"


def _difference(ends: tuple[float | None, ...]) -> str:
    if any(end is None for end in ends):
        return ""
    value, low, high = (100 * end for end in ends if end is not None)
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _judged(models: Path, origin: Origin) -> Iterator[str]:
    figure = kept_figure(models, origin.bundle.model_version)
    yield f"As people judged: {figure}." if figure else ""


def _own_limits(origin: Origin) -> Iterator[str]:
    labelled = any(name not in ("label_free", "clustering") for name in origin.metrics.get("trained", {}))
    if not labelled:
        yield (
            "There were no labels to measure it by: the figures say how well changed views of an image find "
            "it again, which does not prove that what people call alike is found."
        )
    below = origin.index.get("no_match_below")
    if isinstance(below, float):
        error = 100 * origin.index.get("no_match_error", 0.0)
        yield f"Less similar than {below:.4f} is no match; {error:.0f} % of new pictures are so by mistake."
    recall = origin.index.get("recall_at_10")
    if isinstance(recall, float) and recall < 1:
        yield f"The index finds {100 * recall:.1f} % of the exact ten nearest."


def _licence(origin: Origin) -> Iterator[str]:
    yield f"Of the weights it started from: {printable(origin.card.weights_licence) or 'unknown'}."
    if origin.card.weights_sha256:
        yield f"They came from a file of sha256 {origin.card.weights_sha256}."
    yield "Whether the licences of the images allow a use of what was learned from them, their owner knows."


def _served(origin: Origin) -> Iterator[str]:
    if not origin.reigns:
        yield "It has not been the champion."
        return
    rows = [(one.since, one.until or "now", one.how, printable(one.reason)) for one in origin.reigns]
    yield table(("champion from", "to", "by", "because"), rows)


def _reproduce(origin: Origin) -> Iterator[str]:
    bundle = origin.bundle
    yield f"Git revision: {bundle.git_revision or 'unknown'}. Its settings and `dvc.lock` are in the version."
    for data in imported(origin.stages):
        yield f"The images as DVC has them: {hash_of(data)}."
    yield (
        row(("file", "bytes", "sha256"))
        + "\n"
        + row(("---",) * 3)
        + "\n"
        + "\n".join(row((path, f"{file.size_bytes:,}", file.sha256)) for path, file in bundle.files.items())
    )
