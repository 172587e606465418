"""The stage `validate`: the data gate. Nothing is trained on a catalogue that breaks a rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from udml.config import Validate
from udml.data.catalog import QUARANTINE_FILE, SUMMARY_FILE, read_catalog, store_file
from udml.data.validation.data_docs import FRONT_PAGE, write_docs
from udml.data.validation.gx_suite import EXAMPLES, Outcome, check_rules
from udml.data.validation.rules import FIGURES, IMAGES, Rule, catalog_rules
from udml.errors import UdmlError
from udml.files import atomic_directory, read_json, write_json
from udml.text import readable

RESULT_FILE = "result.json"
DOCS_DIRECTORY = "docs"


def validate(prepared: Path, out: Path, params: Validate) -> None:
    """Check the catalogue of `prepared`; write result.json and docs/ to `out`, also if it fails.

    Raises:
        UdmlError: if the catalogue is missing or breaks a rule; the message says which, in plain
            words, with the first rows' files and what to do.
    """
    catalog = read_catalog(prepared)
    quarantine = pd.read_parquet(prepared / QUARANTINE_FILE)
    summary = read_json(prepared / SUMMARY_FILE)
    images = image_table(catalog, prepared, summary["store_short_side_px"])
    figures = count_figures(catalog, len(quarantine))
    table_of_figures = pd.DataFrame([{"source": "the whole catalogue", **figures}])
    labelled = catalog["label"].nunique() >= 2
    rules = catalog_rules(params, summary["min_side_px"], summary["max_pixels"], labelled)
    outcomes, pages = {}, {}
    for name, table in ((IMAGES, images), (FIGURES, table_of_figures)):
        checked, pages[name] = check_rules([rule for rule in rules if rule.table == name], table, name)
        outcomes.update({outcome.rule.name: outcome for outcome in checked})
    result = _result([_plain(outcomes[rule.name], quarantine) for rule in rules], figures, summary)
    with atomic_directory(out) as unfinished:
        write_docs(unfinished / DOCS_DIRECTORY, result, pages)
        write_json(unfinished / RESULT_FILE, result)
    if not result["success"]:
        raise _failure(result, out)


def image_table(catalog: pd.DataFrame, prepared: Path, short_side_px: int) -> pd.DataFrame:
    """The catalogue's columns that rules speak of, and facts about a row's class, group and pixels.

    Added columns: short_side_px, pixels (width x height), group_splits and label_splits (in how many of
    train and test the row's group and class lie), test_class_images (test images of the row's class;
    null for rows that are not labelled test images), stored (whether its pixels are where they should be).
    """
    kept = ["image_id", "source", "sha256", "split", "role", "brightness", "sharpness"]
    width, height = catalog["width"].astype(np.int64), catalog["height"].astype(np.int64)
    tested = (catalog["split"] == "test") & catalog["label"].notna()
    return catalog[kept].assign(
        short_side_px=np.minimum(width, height),
        pixels=width * height,
        group_splits=_splits_of(catalog, "group"),
        label_splits=_splits_of(catalog, "label"),
        test_class_images=catalog.where(tested).groupby("label")["label"].transform("size"),
        stored=_stored(catalog, prepared, short_side_px),
    )


def count_figures(catalog: pd.DataFrame, quarantined: int) -> dict[str, float]:
    """Counts and shares of the whole catalogue."""
    splits = catalog["split"]
    return {
        "quarantined_share": quarantined / max(len(catalog) + quarantined, 1),
        "train_images": int((splits == "train").sum()),
        "test_images": int((splits == "test").sum()),
        "test_classes": int(catalog.loc[splits == "test", "label"].nunique()),
    }


def _splits_of(catalog: pd.DataFrame, column: str) -> pd.Series:
    """In how many of train and test the value of `column` occurs; null where the value is."""
    compared = catalog[catalog["split"].isin(["train", "test"])]
    return catalog[column].map(compared.groupby(column)["split"].nunique())


def _stored(catalog: pd.DataFrame, prepared: Path, short_side_px: int) -> pd.Series:
    """Whether each row's pixels have the size they should and lie in its file, one after the other."""
    size_bytes = 3 * catalog["store_width"].astype(np.int64) * catalog["store_height"]
    by_shard = size_bytes.groupby(catalog["store_shard"])
    in_order = by_shard.cumsum() - size_bytes == catalog["store_offset"]
    files = {shard: store_file(prepared, int(shard)) for shard in catalog["store_shard"].unique()}
    on_disk = {shard: path.stat().st_size if path.exists() else -1 for shard, path in files.items()}
    whole = by_shard.transform("sum") == catalog["store_shard"].map(on_disk)
    shorter = catalog[["width", "height"]].min(axis=1).clip(upper=short_side_px)
    right_size = catalog[["store_width", "store_height"]].min(axis=1) == shorter
    return in_order & whole & right_size & (size_bytes > 0)


def _plain(outcome: Outcome, quarantine: pd.DataFrame) -> dict[str, Any]:
    """An outcome as plain values, for result.json."""
    rule = outcome.rule
    return {
        "name": rule.name,
        "sentence": rule.sentence,
        "met": outcome.success,
        "required": rule.required,
        "rows": outcome.rows,
        "failing": outcome.failing,
        "examples": _examples(rule, outcome, quarantine),
        "mend": rule.mend,
    }


def _examples(rule: Rule, outcome: Outcome, quarantine: pd.DataFrame) -> list[str]:
    """The first failing rows by name; for rules on the whole, what was counted."""
    if rule.table == IMAGES:
        pairs = zip(outcome.sources, outcome.values, strict=True)
        return [f"{source} ({rule.column} {_short(value)})" for source, value in pairs]
    found = [f"{rule.column} is {_short(value)}" for value in outcome.values]
    if rule.name != "quarantined_share" or not found:
        return found
    first = quarantine.head(EXAMPLES)
    return found + [f"{row.source} ({row.reason})" for row in first.itertuples()]


def _short(value: Any) -> str:
    return readable(float(value), 4) if isinstance(value, float | np.floating) else str(value)[:80]


def _result(
    rules: list[dict[str, Any]], figures: dict[str, float], summary: dict[str, Any]
) -> dict[str, Any]:
    """Everything result.json holds: the same for the same catalogue, so no times in it."""
    return {
        "success": all(rule["met"] or not rule["required"] for rule in rules),
        "layout": summary["layout"],
        "protocol": summary["protocol"],
        "data_version": summary["data_version"],
        "figures": figures,
        "rules": rules,
    }


def _failure(result: dict[str, Any], out: Path) -> UdmlError:
    lines = []
    broken = [rule for rule in result["rules"] if not rule["met"] and rule["required"]]
    for rule in broken:
        rows = f" {rule['failing']:,} of {rule['rows']:,} rows do not." if rule["rows"] > 1 else ""
        lines.append(
            f"  rule {rule['name']}: {rule['sentence']}.{rows} {rule['mend'][0].upper()}{rule['mend'][1:]}."
        )
        lines += [f"    {example}" for example in rule["examples"]]
    count = "a rule" if len(broken) == 1 else f"{len(broken)} rules"
    return UdmlError(
        f"the data break {count}:\n" + "\n".join(lines),
        f"the whole report is {out / DOCS_DIRECTORY / FRONT_PAGE}",
    )
