"""The real outbox under power cuts, replayed; 10,000 of them by `python -m tests.faults.power_cut`."""

import shutil

import pytest

from tests.faults.power_cut import replay

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="no C compiler (apt-get install gcc)"
)


@pytest.mark.timeout(400)
def test_a_thousand_power_cuts_lose_nothing_promised_break_nothing_and_keep_the_counts() -> None:
    """[33] [34] Writes that were not synced are dropped, kept, kept in part, or torn at 512 bytes."""
    bad, made, operations = replay(1000, seed=20)
    assert bad == {}
    assert min(made.values()) > 150
    assert operations > 2000


def test_the_replay_notices_an_outbox_that_syncs_less_than_it_says() -> None:
    """[33] The same outbox with SQLite's NORMAL, which most would have chosen."""
    bad, _, _ = replay(60, seed=21, rounds=150, synchronous="NORMAL")
    assert sum(bad.values()) > 5
