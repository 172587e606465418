"""`udml monitor`: whether newly arrived images still look like those that the model knows.

Photos arrive in bursts, and ten shots of one thing are one piece of evidence, not ten. So images are
grouped by the rule that `prepare` groups duplicates with, and one of each group goes on; the sample they
are compared with was drawn in the same way. `udml.monitor.drift` then groups by the embedding what that
rule does not find. Shots that differ more count as independent: a batch from one single occasion alarms
more often than the stated rate.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from udml import paths
from udml.config import Monitor, Prepare, load_params
from udml.data.decoding import duplicate_thumbnail, pixel_digest
from udml.data.duplicates import find_groups
from udml.data.statistics import image_statistics
from udml.errors import UdmlError
from udml.files import image_files, write_json
from udml.monitor.drift import Drift, compare
from udml.monitor.report import write_report
from udml.monitor.unusual import UnusualImage, most_unusual
from udml.pixels import Decoded
from udml.registry.bundle import INDEX_DIRECTORY, MODEL_FILE
from udml.registry.store import version_directory
from udml.retrieval.embedder import EmbeddedFiles, Embedder, FileProblem, embed_files
from udml.retrieval.gallery import open_index
from udml.retrieval.reference import read_reference


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
            listed["path"] = str(listed["path"])
        return {**values.pop("drift"), **values}


def monitor_workspace(given: Sequence[Path], version: str | None, out: Path) -> Finding:
    """Compare files and folders with the workspace's model, or a registered version; see `monitor`.

    Args:
        given: image files or folders.
        version: "champion", "v1", ...; None for the model in `artifacts/`.
        out: the HTML file.
    """
    params = load_params()
    model, index = paths.MODEL, paths.INDEXED
    if version:
        directory = version_directory(paths.MODELS, version)
        model, index = directory / MODEL_FILE, directory / INDEX_DIRECTORY
    return monitor(image_files(given), model, index, out, params.monitor, params.prepare)


def monitor(
    files: Sequence[Path], model: Path, index: Path, out: Path, params: Monitor, duplicates: Prepare
) -> Finding:
    """Compare new files with the collection behind an index; write a page, and its numbers beside it.

    Args:
        files: image files; those that hold no usable image are listed.
        model: the ONNX file that made the index.
        index: a directory that `udml index` wrote.
        out: the HTML file; the numbers go to the same name with `.json`.
        params: the section `monitor`.
        duplicates: the section `prepare`: which images count as one.

    Raises:
        UdmlError: if no file is usable, the model or index is missing or damaged, or `out` is no HTML file.
    """
    if out.suffix not in (".html", ".htm"):
        raise UdmlError(f"{out} does not end in .html", "the numbers go to the same name with .json")
    embedder = Embedder(model)
    opened = open_index(index, embedder.card)
    reference = read_reference(index, opened)
    embedded = embed_files(embedder, files, _note)
    if not embedded.paths:
        first = embedded.problems[0]
        raise UdmlError(
            f"none of the {len(files)} files is a usable image, first {first.path} ({first.detail})",
            "name pictures, or a folder of them",
        )
    statistics = np.stack([one.statistics for one in embedded.noted])
    firsts = _one_of_each_group(embedded, duplicates)
    finding = Finding(
        drift=compare(reference, embedded.vectors[firsts], statistics[firsts], params),
        images=len(embedded.paths),
        independent_images=len(firsts),
        unusual=most_unusual(embedded.paths, embedded.vectors, statistics, reference, opened),
        problems=embedded.problems,
        model_version=embedder.card.model_version,
        data_version=opened.info.data_version,
    )
    write_report(out, finding.drift, finding.unusual, finding.problems, _facts(finding, params))
    write_json(out.with_suffix(".json"), {**finding.to_json(), "settings": asdict(params)})
    return finding


@dataclass(frozen=True)
class _Noted:
    statistics: np.ndarray
    thumbnail: np.ndarray
    digest: bytes


def _note(image: Decoded) -> _Noted:
    return _Noted(
        image_statistics(image.pixels, image.width, image.height),
        duplicate_thumbnail(image.pixels),
        pixel_digest(image.pixels),
    )


def _one_of_each_group(embedded: EmbeddedFiles, params: Prepare) -> np.ndarray:
    """Positions of the first image of each duplicate group, int64, ascending."""
    positions = np.arange(len(embedded.paths))
    groups = find_groups(
        positions,
        np.array([one.digest for one in embedded.noted], dtype="V16"),
        np.stack([one.thumbnail for one in embedded.noted]),
        params.duplicate_max_bits,
        params.duplicate_min_correlation,
    )
    return positions[groups == positions]


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
