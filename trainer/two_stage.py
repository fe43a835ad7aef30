"""The baseline of two models in a row: OpenCV's face detector finds faces, a small classifier says how each mask is worn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from agent.vision.detector import Detection
from agent.vision.geometry import Box
from agent.vision.runtime import Interpreter, open_model
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.labels import LABELS, Label

CASCADE = "haarcascade_frontalface_default.xml"
SCALE, NEIGHBOURS, SMALLEST = 1.1, 1, 0.05  # step between sizes; votes for a face; share of the frame's longer side
MARGIN = 1.2  # a crop's side, in longer sides of the face's box
NO_FACE = len(LABELS)  # the classifier's fourth class: what a cascade takes for a face and is none
CLASSIFIER, DESCRIPTION = "classifier.tflite", "classifier.json"

Corners = tuple[float, float, float, float]  # x, y, width, height in px
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a labelled face lies in the square that the face detector draws around it, in sides of that square."""

    dx: float = 0.0  # from the square's centre to the face's
    dy: float = 0.0
    width: float = 1.0
    height: float = 1.0
    shift: float = 0.05  # spread of the places, one standard deviation
    stretch: float = 0.1  # spread of the sizes, likewise

    def face(self, square: Corners) -> Corners:
        """The face's box that `square` most likely belongs to."""
        x, y, side, _ = square
        wide, high = self.width * side, self.height * side
        return x + side / 2 + self.dx * side - wide / 2, y + side / 2 + self.dy * side - high / 2, wide, high


class Finder(Protocol):
    """Finds faces and knows not how masks are worn: squares in px, in a BGR frame."""

    def find(self, pixels: Pixels) -> list[Corners]: ...


class Cascade:
    """OpenCV's Haar cascade for frontal faces, on one thread where OpenCV is told so."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises ContractError where this OpenCV has no cascades (5 moved them out)."""
        self.path = path or _shipped()
        self._cascade = cv2.CascadeClassifier(str(self.path))

    def find(self, pixels: Pixels) -> list[Corners]:
        side = round(SMALLEST * max(pixels.shape[:2]))
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        found = self._cascade.detectMultiScale(grey, SCALE, NEIGHBOURS, minSize=(side, side))
        return [(float(x), float(y), float(wide), float(high)) for x, y, wide, high in found]


class Classifier:
    """The int8 classifier with what its `classifier.json` says."""

    def __init__(self, interpreter: Interpreter, fit: Fit) -> None:
        """Raises ContractError where the model is no int8 classifier of square crops into our labels and "no face"."""
        self.fit = fit
        self._interpreter = interpreter
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        shape = tuple(int(side) for side in taken["shape"])
        if taken["dtype"] != np.int8 or given["dtype"] != np.int8 or tuple(given["shape"]) != (1, NO_FACE + 1):
            raise ContractError(f"expected an int8 classifier into {NO_FACE + 1} classes, not {tuple(given['shape'])}")
        step, zero = taken["quantization"]
        if zero != -128 or abs(step - 1 / 255) > 1e-5:
            raise ContractError(f"the classifier's input is scaled by {step:.6f} from {zero}; expected 1/255 from -128")
        self.size = shape[1]
        self._input, self._output = int(taken["index"]), int(given["index"])
        self._step, self._zero = given["quantization"]

    @classmethod
    def load(cls, folder: Path, *, runtime: str | None = None) -> "Classifier":
        """The classifier in `folder`; raises ContractError where it is unfinished or not what its description says."""
        told = read_description(folder)
        return cls(open_model(folder / CLASSIFIER, runtime=runtime), Fit(**told["fit"]))

    def look(self, crop: Pixels) -> Floats:
        """Probabilities (4,) of the labels and "no face" for an RGB crop (size, size, 3)."""
        self._interpreter.set_tensor(self._input, (crop ^ 0x80).view(np.int8)[None])
        self._interpreter.invoke()
        logits = (self._interpreter.get_tensor(self._output)[0].astype(np.float32) - self._zero) * self._step
        powers = np.exp(logits - logits.max())
        probabilities: Floats = powers / powers.sum()
        return probabilities


class Pair:
    """Both models in a row, as one detector; time grows with the faces found."""

    def __init__(self, finder: Finder, classifier: Classifier, *, thresholds: Mapping[Label, float]) -> None:
        self._finder, self._classifier, self._thresholds = finder, classifier, thresholds

    def detect(self, pixels: Pixels) -> list[Detection]:
        """Faces in a BGR frame, best first, boxes in the unit square: as `agent.vision.detector.Detector` answers."""
        return self.label(pixels, self._finder.find(pixels))

    def label(self, pixels: Pixels, squares: Sequence[Corners]) -> list[Detection]:
        """The second step alone: what the classifier says of the face detector's squares."""
        boxes = [self._classifier.fit.face(square) for square in squares]
        return label_faces(pixels, boxes, self._classifier, self._thresholds)


def label_faces(
    pixels: Pixels, boxes: Sequence[Corners], classifier: Classifier, thresholds: Mapping[Label, float], *, sure: bool = False,
) -> list[Detection]:  # fmt: skip
    """What the classifier says of each box (px), best first; `sure`: that they are faces is known, and "no face" is out."""
    height, width = pixels.shape[:2]
    found = []
    for box in boxes:
        probabilities = classifier.look(cut(pixels, crop_square(box), classifier.size)).tolist()
        scores = tuple(value / (sum(probabilities[:NO_FACE]) if sure else 1.0) for value in probabilities[:NO_FACE])
        best = max(range(NO_FACE), key=scores.__getitem__)
        if scores[best] >= thresholds[LABELS[best]]:
            found.append(Detection(_unit(box, width, height), LABELS[best], scores[best], scores))
    return sorted(found, key=lambda one: -one.confidence)


def crop_square(box: Corners, margin: float = MARGIN) -> Corners:
    """The square around `box` that the classifier looks at, as x, y, side, side."""
    x, y, wide, high = box
    side = margin * max(wide, high)
    return x + (wide - side) / 2, y + (high - side) / 2, side, side


def cut(pixels: Pixels, square: Corners, size: int) -> Pixels:
    """`square` of a BGR frame as RGB (size, size, 3); what lies outside the frame repeats its edge."""
    height, width = pixels.shape[:2]
    x, y, side = round(square[0]), round(square[1]), max(1, round(square[2]))
    columns = np.clip(np.arange(x, x + side), 0, width - 1)
    rows = np.clip(np.arange(y, y + side), 0, height - 1)
    piece = pixels[rows[:, None], columns[None, :], ::-1]
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(piece, (size, size), interpolation=how).astype(np.uint8)
    return resized


def read_description(folder: Path) -> dict[str, Any]:
    """What `classifier.json` says of the finished classifier beside it; raises ContractError where the two do not agree."""
    try:
        told: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
        digest = sha256((folder / CLASSIFIER).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise ContractError(f"{folder} holds no finished classifier ({error})") from error
    if digest != told.get("sha256"):
        raise ContractError(f"{folder / CLASSIFIER} is not the file that its {DESCRIPTION} describes: train it again")
    return told


def _shipped() -> Path:
    data = getattr(cv2, "data", None)
    path = Path(getattr(data, "haarcascades", "")) / CASCADE
    if data is None or not path.is_file() or not hasattr(cv2, "CascadeClassifier"):
        raise ContractError(
            f"this OpenCV ({cv2.__version__}) ships no {CASCADE}: pip install 'opencv-python-headless<5'"
        )
    return path


def _unit(box: Corners, width: int, height: int) -> Box:
    x0, y0 = max(0.0, box[0] / width), max(0.0, box[1] / height)
    x1, y1 = min(1.0, (box[0] + box[2]) / width), min(1.0, (box[1] + box[3]) / height)
    return Box(min(x0, x1), min(y0, y1), x1, y1)
