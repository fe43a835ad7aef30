"""Consumers, broker and database killed at random: every event once, every count exact."""

import os
from pathlib import Path
from random import Random

import pytest

from cloud.store.database import open_database
from rehearsal.postgres import postgres_programs
from rehearsal.storm import Storm

ROUNDS = int(os.environ.get("MASKFLEET_STORM_ROUNDS", "3"))


@pytest.mark.timeout(300 + 30 * ROUNDS)
@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed (apt-get install postgresql)")
def test_whatever_is_killed_every_event_is_there_once_and_every_count_is_exact(tmp_path: Path) -> None:
    """Faults 36 and 37, at moments that nobody chose."""
    damage = Storm(tmp_path, Random(7)).rage(ROUNDS, open_database)
    assert sum(damage.kills.values()) == ROUNDS
    assert (damage.lost, damage.invented, damage.wrong_boots, damage.wrong_hours, damage.quarantined) == (0, 0, 0, 0, 0)
    assert damage.rows == damage.tallied == damage.made > 0
