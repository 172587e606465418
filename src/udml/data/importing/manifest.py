"""The manifest of imported images: a row for every file, and what it says of them all together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from udml.data.importing.given import PREFIX, Kind, kind_of, value_of
from udml.errors import UdmlError, reason
from udml.pixels import Reason

MANIFEST_FILE = "manifest.parquet"
MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),  # from the source path, see image_id()
        pa.field("source", pa.string(), nullable=False),  # path inside the imported folder
        pa.field("sha256", pa.string(), nullable=True),  # of the bytes, hex; null if not read
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),  # -1 if not stored
        pa.field("offset", pa.int64(), nullable=False),  # of the bytes inside the shard; -1
        pa.field("split", pa.string(), nullable=True),  # train | test where the layout says
        pa.field("role", pa.string(), nullable=False),  # both | query | gallery
        pa.field("label", pa.string(), nullable=True),
        pa.field("problem", pa.string(), nullable=True),  # a code of udml.pixels.Reason
    ]
)

_TYPES: Mapping[Kind, pa.DataType] = {"text": pa.string(), "number": pa.float64(), "time": pa.timestamp("s")}
_HINTS = {  # said of layouts that a folder may have by chance
    "classes": "every folder is taken for a class; if they are years or albums: `--layout plain`",
    "plain": "no labels; where each folder holds one class: `--layout classes`",
    "splits": "train/CLASS/, val/CLASS/, test/CLASS/; if folders mean nothing: `--layout plain`",
}


@dataclass(frozen=True)
class ImportSummary:
    """What an import found.

    Attributes:
        layout, protocol: of the data set, as read.
        data_version: 16 hex digits that identify files, splits, roles and labels.
        files: rows of the manifest; `stored` of them have bytes in a shard.
        size_bytes: bytes stored.
        shards: tar files written.
        images: number of files by (split or "unassigned", role).
        labels: number of distinct labels by split (or "unassigned"); empty where there are none.
        problems: number of files by reason code.
        remarks: what else to say, such as what of a folder was left out, a line each.
        because: why it was read by this layout.
    """

    layout: str
    protocol: str
    data_version: str
    files: int
    stored: int
    size_bytes: int
    shards: int
    images: dict[tuple[str, str], int]
    labels: dict[str, int]
    problems: dict[str, int]
    remarks: list[str] = field(default_factory=list)
    because: str = ""

    def lines(self) -> list[str]:
        """The summary for people, a line per fact."""
        found = [f"layout {self.layout} ({self.protocol})"]
        found += [f"  chosen because {self.because}"] if self.because else []
        found += [f"  {hint}" for hint in (_HINTS.get(self.layout),) if hint]
        for (split, role), count in sorted(self.images.items()):
            labels = f", {self.labels[split]:,} labels in {split}" if split in self.labels else ""
            found.append(f"  {split}{'' if role == 'both' else ' ' + role}: {count:,} files{labels}")
        for code, count in sorted(self.problems.items()):
            found.append(f"  {count:,} not imported: {Reason(code).sentence} ({code})")
        found += [f"  {line}" for line in self.remarks]
        size_mib = self.size_bytes / 1024**2
        found.append(
            f"{self.files:,} files, {size_mib:,.1f} MiB in {self.shards:,} shards, "
            f"data version {self.data_version}"
        )
        return found


def summarise(manifest: pa.Table, shards: int) -> ImportSummary:
    """Count what a manifest holds."""
    metadata = {key.decode(): value.decode() for key, value in (manifest.schema.metadata or {}).items()}
    counted = ("split", "role", "label", "problem", "shard", "size_bytes")
    columns = {name: manifest.column(name).to_pylist() for name in counted}
    splits: list[str] = [split or "unassigned" for split in columns["split"]]
    labels = {(split, name) for split, name in zip(splits, columns["label"], strict=True) if name is not None}
    kept = [size for size, shard in zip(columns["size_bytes"], columns["shard"], strict=True) if shard >= 0]
    return ImportSummary(
        layout=metadata["layout"],
        protocol=metadata["protocol"],
        data_version=metadata["data_version"],
        files=len(splits),
        stored=len(kept),
        size_bytes=sum(kept),
        shards=shards,
        images=dict(Counter(zip(splits, columns["role"], strict=True))),
        labels=dict(Counter(split for split, _ in labels)),
        problems=dict(Counter(code for code in columns["problem"] if code is not None)),
    )


def what_is_there(data_root: Path) -> tuple[str, str]:
    """The data version of what was imported before, and how much it is, in words; both empty for nothing."""
    try:
        manifest = read_manifest(data_root)
    except UdmlError:  # nothing, or nothing that could be used
        return "", ""
    facts = {key.decode(): value.decode() for key, value in (manifest.schema.metadata or {}).items()}
    version, layout = facts.get("data_version", ""), facts.get("layout", "")
    return version, f"{len(manifest):,} files, layout {layout}, data version {version}"


def read_manifest(data_root: Path) -> pa.Table:
    """The manifest of `data_root`, its schema metadata holding layout, protocol and data_version.

    Behind the columns of `MANIFEST_SCHEMA` come those of a user's manifest; see `udml.data.importing.given`.

    Raises:
        UdmlError: if there is none, or its columns are not a manifest's.
    """
    path = data_root / MANIFEST_FILE
    if not path.exists():
        raise UdmlError(f"no data at {path}", "`udml data import FOLDER` or `dvc pull data.dvc` first")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UdmlError(f"cannot read {path}: {reason(error)}", "import the images again") from error
    names = [*MANIFEST_SCHEMA.names, *(field.name for field in given_fields(table.schema))]
    if table.schema.names != names:
        raise UdmlError(f"{path} was written by another version of udml", "import the images again")
    return table


def fields_of(names: Sequence[str], rows: Sequence[tuple[str | None, ...]]) -> list[pa.Field]:
    """Columns of a user's manifest, of the types that their cells are of; see `udml.data.importing.given`."""
    kinds = (kind_of(row[position] for row in rows) for position in range(len(names)))
    return [
        pa.field(PREFIX + name, _TYPES[kind], nullable=True) for name, kind in zip(names, kinds, strict=True)
    ]


def values_of(row: tuple[str | None, ...], fields: Sequence[pa.Field]) -> dict[str, object]:
    """A row's values of these columns, by name."""
    kinds = {arrow: kind for kind, arrow in _TYPES.items()}
    pairs = zip(fields, row, strict=True)
    return {field.name: value_of(text, kinds[field.type]) for field, text in pairs}


def given_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a user's manifest in the schema of a manifest or a catalogue of udml."""
    return [field for field in schema if field.name.startswith(PREFIX)]
