"""Fuzzing with coverage of what strangers and other programs write; see `targets`.

    python -m benchmarks.fuzzing decode --minutes 10     or manifest, params, keys, multipart

With atheris (`pip install atheris`), which learns what each input reaches; without it, by hypothesis.
What was learnt is kept in .scratch/fuzzing/NAME, an input that fails in .scratch/fuzzing/NAME-failed-*.
Ends with status 0 where nothing was found.
"""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # else imported where it is instrumented
    from benchmarks.fuzzing.targets import Target

_WORK = Path(".scratch/fuzzing")
_MAX_BYTES = 8_192
_MAX_SECONDS_EACH = 20


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=("decode", "manifest", "params", "keys", "multipart"))
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    corpus = _WORK / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    try:
        import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError:
        from benchmarks.fuzzing.targets import targets

        _by_hypothesis(targets()[options.target], options.minutes)
        return
    with atheris.instrument_imports(include=["udml", "PIL", "python_multipart", "starlette.formparsers"]):
        from benchmarks.fuzzing.targets import targets

        target = targets()[options.target]
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        use(target, data)

    limits = [f"-max_total_time={60 * options.minutes:.0f}", f"-timeout={_MAX_SECONDS_EACH}"]
    places = [f"-artifact_prefix={_WORK}/{options.target}-failed-", str(corpus)]
    how = [f"-max_len={_MAX_BYTES}", "-rss_limit_mb=3000", "-reduce_inputs=1", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *how, *places], one)
    atheris.Fuzz()


def use(target: "Target", data: bytes) -> None:
    """Try one input; raises what must not be raised."""
    with suppress(*target.allowed):
        target.use(data)


def _by_hypothesis(target: "Target", minutes: float) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    place = st.tuples(st.integers(0, 2 * _MAX_BYTES), st.integers(0, 8), st.binary(max_size=8))

    @settings(max_examples=2_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(target.seeds()), st.lists(place, max_size=12))
    def trial(seed: bytes, places: list[tuple[int, int, bytes]]) -> None:
        for at, gone, new in places:
            cut = at % (len(seed) + 1)
            seed = seed[:cut] + new + seed[cut + gone :]
        use(target, seed)

    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        trial()


if __name__ == "__main__":
    main()
