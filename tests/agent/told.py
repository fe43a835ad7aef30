"""Faces that a test says are there."""

from collections.abc import Sequence

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detection, Faces
from agent.vision.yolo import Placement
from contract.release import Manifest, read_manifest

MANIFEST = read_manifest(FACTORY_MODEL)


class Told(Faces):
    """What a network would have answered."""

    def __init__(
        self, found: Sequence[Detection] = (), unsure: Sequence[Detection] = (), manifest: Manifest = MANIFEST
    ) -> None:
        super().__init__([], Placement(1.0, 0, 0), (1, 1), [], manifest)
        self.found, self._unsure = list(found), list(unsure)

    def faint(self) -> list[Detection]:
        return self._unsure
