"""What a running agent has loaded: the fewer packages, the less memory and the less that can break at a door."""

import subprocess
import sys
from pathlib import Path

from rehearsal.scene import Scene, write_clip

# Beside the standard library, and (THEIRS) what these bring along themselves.
NEEDED = {"agent", "contract", "numpy", "cv2", "ai_edge_litert", "tflite_runtime", "paho", "pydantic"}
THEIRS = {
    "pydantic_core",
    "annotated_types",
    "typing_inspection",
    "typing_extensions",
    "backports",
    "google",
    "ml_dtypes",
    "socks",
}

PROGRAM = """
import sys, threading
import agent.__main__
from pathlib import Path
from agent.app import Door
from agent.config import AgentSettings
door = Door(AgentSettings.model_validate({"device": "door-1", "camera": {"source": sys.argv[1]},
    "outbox": {"folder": sys.argv[2]}, "learning": {"crops": True}}))
door.run(threading.Event())
print(*sorted({name.split(".")[0] for name, module in sys.modules.items()
    if getattr(module, "__file__", None) and "site-packages" in module.__file__
    and not name.startswith("_")}))
"""


def test_a_running_agent_has_loaded_nothing_but_what_it_is_said_to_need(tmp_path: Path) -> None:
    write_clip(Scene("passage", seed=61, people=1), tmp_path / "clip.mp4")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "clip.mp4", tmp_path / "outbox"],
        capture_output=True, text=True, check=True, timeout=280,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded >= {"numpy", "cv2", "paho", "pydantic"}
    assert loaded - NEEDED - THEIRS == set()
