"""The stage `prepare`: decode every imported file once, and write the catalogue and the pixel store.

Each data shard becomes one store file, shard by shard on whatever does the work. One pass then joins the
shards' rows, finds duplicate groups, decides splits and writes the catalogue. Memory is constant but
for columns of one value per image. The output is the same to the byte whatever the number of
processes, wherever they ran, and however often the run was killed and resumed.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from udml.compute.local import run_here
from udml.compute.work import Run
from udml.config import Prepare
from udml.data.catalog import (
    CATALOG_FILE,
    CATALOG_SCHEMA,
    FACTS_SCHEMA,
    QUARANTINE_FILE,
    QUARANTINE_SCHEMA,
    STORE_DIRECTORY,
    SUMMARY_FILE,
    open_store,
    store_file,
)
from udml.data.decode_pool import decode_shards
from udml.data.decoding import ShardTask
from udml.data.duplicates import THUMBNAIL_PX, find_groups
from udml.data.identity import folder_of
from udml.data.importing.manifest import given_fields, read_manifest
from udml.data.splits import assign_splits
from udml.errors import UdmlError
from udml.files import discard_scratch, fingerprint, replace_directory, scratch_directory, write_json
from udml.parquet import write_table
from udml.pixels import Reason

CODE_VERSION = 6  # raise it when the same input and params would give other output or scratch files


def prepare(data_root: Path, out: Path, params: Prepare, run: Run = run_here) -> dict[str, Any]:
    """Write catalogue, quarantine list, summary and pixel store of `data_root` to `out`.

    Returns:
        The summary, as written to summary.json.

    Raises:
        UdmlError: if there is no data, a data shard is damaged, or no file holds a usable image.
    """
    manifest = read_manifest(data_root)
    facts = {key.decode(): value.decode() for key, value in (manifest.schema.metadata or {}).items()}
    key = fingerprint(facts["data_version"], str(data_root), asdict(params), CODE_VERSION)
    scratch = scratch_directory("prepare", key)
    result = scratch / "result"
    tasks = _tasks(manifest, data_root, scratch, params)
    (result / STORE_DIRECTORY).mkdir(parents=True, exist_ok=True)
    decode_shards(tasks, run)
    for left_over in scratch.rglob(".*.tmp"):  # of processes that were killed
        left_over.unlink(missing_ok=True)
    accepted, refused = _join(manifest, tasks)
    _check_counts(manifest, accepted, refused)
    catalog = _with_groups_and_splits(accepted, scratch, tasks, params)
    schema = pa.schema([*CATALOG_SCHEMA, *FACTS_SCHEMA, *given_fields(manifest.schema)])
    write_table(result / CATALOG_FILE, _table(catalog, schema))
    write_table(result / QUARANTINE_FILE, _table(refused, QUARANTINE_SCHEMA))
    summary = _summary(catalog, refused, facts, params)
    write_json(result / SUMMARY_FILE, summary)
    replace_directory(result, out)
    discard_scratch(scratch)
    return summary


def counts_line(summary: dict[str, Any]) -> str:
    """How many images were kept, and how many files were not and why, in one line."""
    refused = summary["quarantined"]
    said = f"{summary['images']:,} kept, {sum(refused.values()):,} in quarantine"
    reasons = (f"{count:,} because {Reason(code).sentence}" for code, count in Counter(refused).most_common())
    return f"{said}: {'; '.join(reasons)}" if refused else said


def _tasks(manifest: pa.Table, data_root: Path, scratch: Path, params: Prepare) -> list[ShardTask]:
    files = manifest.select(["image_id", "shard", "offset", "size_bytes", "sha256"]).to_pandas()
    stored = files[files["shard"] >= 0]
    if not stored["shard"].is_monotonic_increasing:  # rows, pixels and thumbnails share one order
        raise UdmlError(f"the manifest in {data_root} is not in shard order", "import the images again")
    tasks = []
    for shard, rows in stored.groupby("shard", sort=True):
        number = int(shard)
        tasks.append(
            ShardTask(
                data_root=data_root,
                shard=number,
                image_id=tuple(rows["image_id"].tolist()),
                offset=tuple(rows["offset"].tolist()),
                size_bytes=tuple(rows["size_bytes"].tolist()),
                sha256=tuple(rows["sha256"].tolist()),
                short_side_px=params.store_short_side_px,
                min_side_px=params.min_side_px,
                max_pixels=params.max_pixels,
                pixels=store_file(scratch / "result", number),
                thumbnails=scratch / "thumbnails" / f"{number:05d}.bin",
                rows=scratch / "rows" / f"{number:05d}.parquet",
            )
        )
    return tasks


def _join(manifest: pa.Table, tasks: list[ShardTask]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest rows with what decoding found, in manifest order: accepted images, and refused files."""
    decoded = [pq.read_table(task.rows) for task in tasks]
    rows = pa.concat_tables(decoded).to_pandas() if decoded else pd.DataFrame(columns=["image_id", "reason"])
    joined = manifest.to_pandas().merge(rows, on="image_id", how="left", validate="one_to_one")
    stored = joined["shard"] >= 0
    accepted = joined[stored & joined["reason"].isna()].reset_index(drop=True)
    refused = joined[~stored | joined["reason"].notna()].reset_index(drop=True)
    if refused.empty:
        return accepted, refused.assign(detail="")
    refused["reason"] = refused["reason"].fillna(refused["problem"])
    sentences = refused["reason"].map({str(reason): reason.sentence for reason in Reason})
    refused["detail"] = sentences if "detail" not in refused else refused["detail"].fillna(sentences)
    return accepted, refused


def _check_counts(manifest: pa.Table, accepted: pd.DataFrame, refused: pd.DataFrame) -> None:
    if len(accepted) + len(refused) != len(manifest):
        raise UdmlError(
            f"{len(manifest):,} files were imported, but {len(accepted):,} are in the catalogue and "
            f"{len(refused):,} in quarantine",
            "remove .scratch and run `udml prepare` again; if it stays, report it",
        )
    if accepted.empty:
        worst, files = Counter(refused["reason"]).most_common(1)[0]
        raise UdmlError(
            f"none of the {len(refused):,} imported files holds a usable image; {files:,} because "
            f"{Reason(worst).sentence}, first `{refused['source'].iloc[0]}` ({refused['detail'].iloc[0]})",
            "import another folder, or see prepare.min_side_px and prepare.max_pixels in params.yaml",
        )


def _with_groups_and_splits(
    accepted: pd.DataFrame, scratch: Path, tasks: list[ShardTask], params: Prepare
) -> pd.DataFrame:
    thumbnails = _thumbnails(scratch / "thumbnails.bin", tasks)
    group = find_groups(
        accepted["image_id"].to_numpy(),
        np.array(accepted["pixel_digest"].tolist(), dtype="V16"),
        thumbnails,
        params.duplicate_max_bits,
        params.duplicate_min_correlation,
        open_store(scratch / "result", accepted.assign(store_shard=accepted["shard"])).__getitem__,
    )
    split = assign_splits(
        _or_none(accepted["split"]), _or_none(accepted["label"]), group, params.test_share, params.seed
    )
    renamed = accepted.rename(columns={"shard": "data_shard", "offset": "data_offset"})
    folder = renamed["source"].map(folder_of)
    return renamed.assign(group=group, split=split, store_shard=renamed["data_shard"], folder=folder)


def _thumbnails(path: Path, tasks: list[ShardTask]) -> np.ndarray:
    """All accepted images' thumbnails in catalogue order, on disk: uint8 [n, 32, 32, 3]."""
    with path.open("wb") as file:
        for task in tasks:
            file.write(task.thumbnails.read_bytes())
    return np.memmap(path, np.uint8, "r").reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX, 3)


def _or_none(column: pd.Series) -> np.ndarray:
    return column.astype(object).where(column.notna(), None).to_numpy()


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The schema's columns of `frame`, without pandas' own metadata (it names library versions)."""
    return pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False).replace_schema_metadata()


def _summary(
    catalog: pd.DataFrame, refused: pd.DataFrame, facts: dict[str, str], params: Prepare
) -> dict[str, Any]:
    members = catalog.groupby("group").size()
    return {
        "layout": facts["layout"],
        "protocol": facts["protocol"],
        "data_version": facts["data_version"],
        "files": len(catalog) + len(refused),
        "images": len(catalog),
        "splits": {name: int((catalog["split"] == name).sum()) for name in ("train", "test", "excluded")},
        "labels": int(catalog["label"].nunique()),
        "quarantined": dict(sorted(Counter(refused["reason"]).items())),
        "duplicate_groups": int((members > 1).sum()),
        "images_in_duplicate_groups": int(members[members > 1].sum()),
        "pixels_bytes": int(3 * (catalog["store_width"].astype(np.int64) * catalog["store_height"]).sum()),
        "store_short_side_px": params.store_short_side_px,
        "min_side_px": params.min_side_px,
        "max_pixels": params.max_pixels,
    }
