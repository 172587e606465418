import pytest
from benchmarks.serving.malformed import malformed

from tests.serving.small_service import BASE


@pytest.mark.slow
def test_malformed_input_is_answered_and_touches_nothing(registry):
    result = malformed(registry, [data for _, data, _ in BASE[:4]], count=400)
    assert result.made_up + result.damaged == 400
    assert result.made_up > 100
    assert (result.faults, result.crashed, result.touched) == (0, False, [])
    assert result.statuses[422] > 50
    assert result.right_afterwards
