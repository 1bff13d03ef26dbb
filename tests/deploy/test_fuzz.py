"""A few thousand of what `make fuzz` tries by the hundred thousand."""

from pathlib import Path

from deploy import fuzz

N_CASES = 3_000


def test_damaged_input_ends_in_one_line_and_nothing_written(tmp_path: Path) -> None:
    counts = fuzz.run(N_CASES, 7, tmp_path)
    assert sum(counts.values()) == N_CASES
    assert all(counts[kind] > 100 for kind in ("manifest bytes", "manifest values", "index", "archive"))
