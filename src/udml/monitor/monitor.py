"""`udml monitor`: whether newly arrived images still look like those that the model knows."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from udml import paths
from udml.config import Monitor, Prepare
from udml.errors import UdmlError
from udml.files import write_json
from udml.monitor.batch import Batch, from_files, from_import
from udml.monitor.drift import Drift, compare
from udml.monitor.report import summary, write_report
from udml.monitor.unusual import UnusualImage, most_unusual
from udml.registry.chosen import choose
from udml.search.embedder import Embedder, FileProblem
from udml.search.gallery import open_index
from udml.search.items import ITEMS_FILE, Items
from udml.search.reference import read_reference
from udml.text import printable
from udml.walking.given import given_files
from udml.walking.rules import WalkRules

_AS_IT_LIES = WalkRules()


@dataclass(frozen=True)
class Finding:
    """What came of a batch of new files.

    Attributes:
        drift: the verdict and its numbers.
        images: usable images among the files.
        independent_images: of these, duplicates counted once.
        unusual: images that differ most from the collection, most unusual first.
        problems: files that hold no usable image.
        model_version, data_version: of the model and of the images it is compared with.
    """

    drift: Drift
    images: int
    independent_images: int
    unusual: list[UnusualImage]
    problems: list[FileProblem]
    model_version: str
    data_version: str

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, the verdict first."""
        values = asdict(self)
        for listed in (*values["unusual"], *values["problems"]):
            listed["path"] = printable(listed["path"])
        return {**values.pop("drift"), **values}


def monitor_workspace(
    given: Sequence[Path], version: str | None, out: Path, rules: WalkRules = _AS_IT_LIES
) -> Finding:
    """Compare new images with those that a version, or the workspace's model, knows; write a page.

    Args:
        given: image files or folders; none for the imported images, as `prepare` left them, whose files
            the index does not know.
        version: "champion", "v1", ..., "workspace"; None as `udml.registry.chosen` says.
        out: the HTML file; the numbers go to the same name with `.json`.
        rules: what of a folder to leave out.

    Raises:
        UdmlError: if no file is usable, the model or index is missing or damaged, `prepare` has not run
            where it is needed, or `out` is no HTML file.
    """
    if out.suffix not in (".html", ".htm"):
        raise UdmlError(f"{out} does not end in .html", "the numbers go to the same name with .json")
    chosen = choose(version)
    index, duplicates = chosen.index, chosen.settings(Prepare, "prepare")
    embedder = Embedder(chosen.model)
    if given:
        files = [found.path for found in given_files(given, rules)]
        batch = from_files(embedder, files, duplicates)
    else:
        with closing(Items(index / ITEMS_FILE)) as known:
            batch = from_import(embedder, paths.PREPARED, known)
    return monitor(batch, embedder, index, out, chosen.settings(Monitor, "monitor"))


def monitor(batch: Batch, embedder: Embedder, index: Path, out: Path, params: Monitor) -> Finding:
    """Compare new images with the collection behind an index; write a page, and its numbers beside it.

    Args:
        batch: the new images.
        embedder: the model that made the index, and the batch's vectors.
        index: a directory that `udml index` wrote.
        out: the HTML file; the numbers go to the same name with `.json`.
        params: the section `monitor`.

    Raises:
        UdmlError: if the index is missing or damaged.
    """
    opened = open_index(index, embedder.card)
    reference = read_reference(index, opened)
    firsts = batch.independent
    finding = Finding(
        drift=compare(reference, batch.vectors[firsts], batch.statistics[firsts], params),
        images=len(batch.paths),
        independent_images=len(firsts),
        unusual=most_unusual(batch.paths, batch.vectors, batch.statistics, reference, opened),
        problems=batch.problems,
        model_version=embedder.card.model_version,
        data_version=opened.info.data_version,
    )
    pictures = [batch.pixels(batch.paths.index(one.path)) for one in finding.unusual]
    write_report(out, finding.drift, finding.unusual, pictures, finding.problems, _facts(finding, params))
    write_json(
        out.with_suffix(".json"),
        {**finding.to_json(), "summary": summary(finding.drift), "settings": asdict(params)},
    )
    return finding


def _facts(finding: Finding, params: Monitor) -> list[tuple[str, object]]:
    return [
        ("New images", f"{finding.images:,}"),
        ("Duplicates counted once", f"{finding.independent_images:,}"),
        ("Tested", f"{finding.drift.tested_images:,}"),
        ("Compared with", f"{finding.drift.reference_images:,} images of data {finding.data_version}"),
        ("Model", finding.model_version),
        ("Alarm rate", f"{params.alarm_rate:.1%} of batches without drift"),
        ("Permutations", f"{params.permutations:,}, seed {params.seed}"),
    ]
