"""What training says where halves of the images do not agree on its clusters."""

import pytest

from udml.learning.train import _doubt


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"strengths_by_cluster_size": {"25": 0.18, "16": 0.14}, "found_cluster_size": 25}, "only 18% of"),
        ({"strengths_by_cluster_size": {"25": 0.20, "10": 0.24}, "found_cluster_size": 10}, "only 24% of"),
        ({"strengths_by_cluster_size": {"25": 0.29, "16": 0.27}, "found_cluster_size": 25}, ""),
        ({"strengths_by_cluster_size": {}, "found_cluster_size": 25}, ""),  # too few images to halve
        ({}, ""),  # the number was given
    ],
)
def test_doubtful_pseudo_classes_are_told(record: dict[str, object], told: str) -> None:
    assert bool(_doubt(record)) == bool(told)
    assert told in _doubt(record)
