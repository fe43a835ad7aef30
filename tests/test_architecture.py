"""The house's rules that a machine can check: who imports whom, and how long a file may be."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("agent", "cloud", "contract", "provisioning", "rehearsal", "trainer")
MAY_IMPORT = {
    "agent": {"agent", "contract"},
    "cloud": {"cloud", "contract"},
    "contract": {"contract"},
    "provisioning": {"provisioning", "contract"},
    "trainer": {"trainer", "contract", "agent.vision"},  # what ships is judged by the device's own eyes
    "rehearsal": set(PARTS),
}
# Rules take values; shells do the reading, sending and waiting.
PURE = (
    "agent/vision/yolo.py", "agent/vision/geometry.py", "agent/vision/tracker.py", "agent/vision/counter.py",
    "agent/vision/pipeline.py", "agent/vision/frame.py", "agent/vision/stamps.py", "agent/vision/watch.py",
    "agent/vision/pairing.py", "agent/vision/doorway.py", "agent/commission/fit.py",
    "contract/topics.py", "contract/events.py", "contract/crops.py", "cloud/counts/claims.py", "cloud/counts/evidence.py",
    "cloud/counts/correction.py", "cloud/counts/likeness.py", "cloud/counts/rows.py", "cloud/counts/periods.py", "cloud/counts/ranking.py", "cloud/counts/trust.py", "cloud/counts/bins.py", "cloud/counts/usual.py", "cloud/web/words.py", "cloud/counts/export.py",
    "cloud/ingest/jpeg.py", "cloud/ingest/meter.py", "cloud/upkeep/terms.py", "cloud/store/places.py", "provisioning/ca.py", "provisioning/enrol.py", "provisioning/brake.py", "cloud/web/learning.py", "agent/learning/sampler.py",
    "agent/learning/privacy.py", "cloud/learning/retraining.py", "trainer/gate.py", "trainer/scores.py", "trainer/mappable.py",
    "trainer/mistakes.py", "trainer/hard.py",
    "agent/learning/witness.py", "agent/learning/gleaner.py", "agent/update/trial.py",
    "contract/golden.py", "cloud/fleet/rollout.py", "agent/health/opening.py", "agent/health/coverage.py",
    "agent/health/heat.py", "agent/health/pulse.py", "agent/health/drift.py", "agent/health/certificate.py",
    "agent/health/finding.py", "contract/opening.py", "contract/trouble.py", "cloud/fleet/plans.py", "cloud/fleet/hours.py", "cloud/fleet/alerts.py",
)  # fmt: skip
IMPURE = {"socket", "time", "sqlite3", "pathlib", "os", "subprocess", "sqlalchemy", "paho", "requests", "random"}
HEAVY = {"torch", "torchvision", "matplotlib", "ultralytics", "tensorflow", "onnx", "onnx2tf"}
LONGEST = 400


def sources() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def belongs(module: str, allowed: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in allowed)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_part_imports_only_itself_and_the_contract(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0]
    ours = {name for name in imports(path) if name.split(".")[0] in PARTS and name not in PARTS}
    assert {name for name in ours if not belongs(name, MAY_IMPORT[part])} == set()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_trainer_knows_torch_and_tensorflow(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "trainer":
        assert {name.split(".")[0] for name in imports(path)} & HEAVY == set()


@pytest.mark.parametrize("name", PURE)
def test_the_pure_modules_know_no_socket_clock_database_or_path(name: str) -> None:
    assert {module.split(".")[0] for module in imports(ROOT / name)} & IMPURE == set()


def test_the_device_needs_no_more_than_it_says() -> None:
    allowed = set(sys.stdlib_module_names) | {
        "agent", "contract", "numpy", "cv2", "paho", "pydantic", "ai_edge_litert", "tflite_runtime", "picamera2", "libcamera", "tuf",
    }  # fmt: skip
    used = {
        name.split(".")[0]
        for part in ("agent", "contract")
        for path in (ROOT / part).rglob("*.py")
        for name in imports(path)
    }
    assert used - allowed == set()


def test_no_file_is_too_long_to_read() -> None:
    files = [*sources(), *(ROOT / "tests").rglob("*.py")]
    assert [str(path) for path in files if len(path.read_text().splitlines()) > LONGEST] == []


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [str(path) for path in sources() if vague & set(path.relative_to(ROOT).with_suffix("").parts)] == []
