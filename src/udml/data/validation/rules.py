"""The rules a catalogue must satisfy, as plain data; no checking happens here.

A rule speaks of one column of one of two tables: `images` (a row per catalogue row, the columns that
`udml.data.validation.validate` prepares) and `figures` (one row of counts and shares).
"""

from dataclasses import dataclass, field
from typing import Any

from udml.config import Validate

IMAGES, FIGURES = "images", "figures"
UNIQUE, MATCHES, BETWEEN, ONE_OF = "unique", "matches", "between", "one_of"

_REPORT = "this is a fault of udml or of a changed file: run `dvc repro -f prepare`"
_RESPLIT = "import without a split column (whole classes are then held out), or mend the split"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: short and stable; tests and result.json speak of it.
        table, column: what it looks at. Nulls are passed over.
        check: UNIQUE; MATCHES {regex}; BETWEEN {min_value, max_value}, either may be missing, both
            inclusive; ONE_OF {value_set}.
        sentence: the rule in plain words, for a person.
        mend: what to do if it is broken.
        arguments: of the check.
        mostly: share of the rows that must meet it.
        required: whether breaking it fails the stage; otherwise it is only reported.
    """

    name: str
    table: str
    column: str
    check: str
    sentence: str
    mend: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mostly: float = 1.0
    required: bool = True


def catalog_rules(params: Validate, min_side_px: int, max_pixels: int, labelled: bool) -> list[Rule]:
    """Every rule that applies, in the order in which a person should read them.

    Args:
        params: the limits.
        min_side_px: the smallest shorter side that `prepare` let in.
        max_pixels: the largest width x height that it let in.
        labelled: whether there are labels of at least two classes.
    """
    rules = [*_figure_rules(params), *_identity_rules(), *_size_rules(min_side_px, max_pixels)]
    rules += [*_split_rules(), *_pixel_rules(params)]
    return rules + _label_rules(params) if labelled else rules


def _figure_rules(params: Validate) -> list[Rule]:
    more = "import more images, change prepare.test_share, or lower validate.{} in params.yaml"
    return [
        Rule(
            "quarantined_share",
            FIGURES,
            "quarantined_share",
            BETWEEN,
            f"at most {params.max_quarantined_share:.1%} of the files are in quarantine",
            "mend or remove these files and import again, or raise validate.max_quarantined_share",
            {"max_value": params.max_quarantined_share},
        ),
        Rule(
            "min_train_images",
            FIGURES,
            "train_images",
            BETWEEN,
            f"there are at least {params.min_train_images:,} training images",
            more.format("min_train_images"),
            {"min_value": params.min_train_images},
        ),
        Rule(
            "min_test_images",
            FIGURES,
            "test_images",
            BETWEEN,
            f"there are at least {params.min_test_images:,} test images",
            more.format("min_test_images"),
            {"min_value": params.min_test_images},
        ),
    ]


def _identity_rules() -> list[Rule]:
    known_split = {"value_set": ["train", "test", "excluded"]}
    known_role = {"value_set": ["both", "query", "gallery"]}
    digest = {"regex": "^[0-9a-f]{64}$"}
    return [
        Rule("unique_ids", IMAGES, "image_id", UNIQUE, "every image has an id of its own", _REPORT),
        Rule("unique_sources", IMAGES, "source", UNIQUE, "every file is there once", _REPORT),
        Rule("valid_sha256", IMAGES, "sha256", MATCHES, "hashes are 64 hex digits", _REPORT, digest),
        Rule(
            "known_split",
            IMAGES,
            "split",
            ONE_OF,
            "the split is train, test or excluded",
            "mend the split column of the imported data",
            known_split,
        ),
        Rule(
            "known_role",
            IMAGES,
            "role",
            ONE_OF,
            "the role is both, query or gallery",
            "mend the role column of the imported data",
            known_role,
        ),
    ]


def _size_rules(min_side_px: int, max_pixels: int) -> list[Rule]:
    stored = "the store holds every image's pixels, whole and at the right size"
    return [
        Rule(
            "min_side",
            IMAGES,
            "short_side_px",
            BETWEEN,
            f"the shorter side of every image is at least {min_side_px} px",
            _REPORT,
            {"min_value": min_side_px},
        ),
        Rule(
            "max_pixels",
            IMAGES,
            "pixels",
            BETWEEN,
            f"no image has more than {max_pixels:,} pixels",
            _REPORT,
            {"max_value": max_pixels},
        ),
        Rule("store_bounds", IMAGES, "stored", ONE_OF, stored, _REPORT, {"value_set": [True]}),
    ]


def _split_rules() -> list[Rule]:
    sentence = "no group of duplicates lies in both train and test"
    return [Rule("groups_disjoint", IMAGES, "group_splits", BETWEEN, sentence, _REPORT, {"max_value": 1})]


def _pixel_rules(params: Validate) -> list[Rule]:
    share = params.min_share_in_range
    low, high = params.brightness_min, params.brightness_max
    return [
        Rule(
            "brightness",
            IMAGES,
            "brightness",
            BETWEEN,
            f"at least {share:.1%} of the images have a mean grey level between {low:g} and {high:g}",
            "remove black or white pictures, or change validate.brightness_min and brightness_max",
            {"min_value": low, "max_value": high},
            mostly=share,
        ),
        Rule(
            "sharpness",
            IMAGES,
            "sharpness",
            BETWEEN,
            f"at least {share:.1%} of the images have a sharpness of {params.sharpness_min:g} or more",
            "remove blank or blurred pictures, or lower validate.sharpness_min",
            {"min_value": params.sharpness_min},
            mostly=share,
        ),
    ]


def _label_rules(params: Validate) -> list[Rule]:
    return [
        Rule(
            "classes_disjoint",
            IMAGES,
            "label_splits",
            BETWEEN,
            "no class lies in both train and test",
            _RESPLIT,
            {"max_value": 1},
        ),
        Rule(
            "min_test_classes",
            FIGURES,
            "test_classes",
            BETWEEN,
            f"there are at least {params.min_test_classes} test classes",
            "label more classes, raise prepare.test_share, or lower validate.min_test_classes",
            {"min_value": params.min_test_classes},
        ),
        Rule(
            "test_class_pairs",
            IMAGES,
            "test_class_images",
            BETWEEN,
            "every test class has at least 2 images, so that each has a right answer to find",
            "nothing needs to be done: these images are left out as queries where labels are scored",
            {"min_value": 2},
            required=False,
        ),
    ]
