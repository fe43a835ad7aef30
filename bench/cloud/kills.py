"""`python -m bench.cloud.kills --rounds 100 [--sqlite]`: consumers, broker and PostgreSQL killed at random, and the damage."""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from random import Random

from cloud.store.database import open_database
from rehearsal.storm import Storm


def main() -> int:
    """Print the damage as JSON; the exit code is 1 where anything was lost, doubled or miscounted."""
    parser = argparse.ArgumentParser(prog="bench.cloud.kills")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sqlite", action="store_true", help="one SQLite file instead of PostgreSQL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mf-storm-") as name:
        storm = Storm(Path(name), Random(options.seed), sqlite=options.sqlite)
        damage = storm.rage(options.rounds, open_database, tell=lambda done: print(done, "kills", file=sys.stderr))
    print(json.dumps(dataclasses.asdict(damage)))
    wrong = damage.lost or damage.invented or damage.wrong_boots or damage.wrong_hours or damage.quarantined
    return 1 if wrong or damage.tallied != damage.made else 0


if __name__ == "__main__":
    sys.exit(main())
