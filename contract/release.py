"""A model file and what must be known to run it: the trainer writes the manifest, the device refuses a file without one."""

from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from contract.crops import Digest
from contract.errors import ContractError
from contract.labels import LABELS, Label
from contract.wire import Count, Ratio, Wire

MODEL_NAME = "model.tflite"
MANIFEST_NAME = "manifest.json"
MANIFEST_LIMIT = 64 * 1024
GOLDEN_NAME = "golden.zip"
COMPILED_NAME = "model_edgetpu.tflite"  # what the Edge TPU's compiler made of the model
MODEL_LIMIT = 32 * 1024 * 1024  # bytes of a model file
GOLDEN_LIMIT = 8 * 1024 * 1024  # bytes of an archive of golden frames
RELEASE_FILES = (MODEL_NAME, MANIFEST_NAME, GOLDEN_NAME)  # that every release has
LIMITS = {MODEL_NAME: MODEL_LIMIT, MANIFEST_NAME: MANIFEST_LIMIT, GOLDEN_NAME: GOLDEN_LIMIT, COMPILED_NAME: MODEL_LIMIT}


def target_path(release: int, name: str) -> str:
    """Where a release's file lies in the repository of signed releases, relative to its targets folder."""
    return f"releases/{release}/{name}"


class Head(StrEnum):
    """How the output tensors become boxes; another layout is another decoder, never guessed."""

    YOLOV5U_CUT = "yolov5u-cut"  # per stride: 4 x 16 distance bins and the class logits, both int8, before any decoding


class EdgeTpuStatus(StrEnum):
    """What is known about a model on the Edge TPU; only the compiler's own word is `compiled`."""

    COMPILED = "compiled"
    LIKELY = "likely"
    UNLIKELY = "unlikely"


class EdgeTpu(Wire):
    """The Edge TPU compiler's word on a model, or a guess with reasons where the compiler was not at hand."""

    status: EdgeTpuStatus
    reasons: tuple[str, ...] = Field(
        default=(),
        description="What speaks for or against it; of a compiled model, which operators stayed on the CPU and why.",
    )
    compiler: str | None = Field(default=None, description="Version of the compiler that ran.")
    operators_on_edge_tpu: Count | None = None
    operators_on_cpu: Count | None = None
    subgraphs: Count | None = Field(default=None, description="Parts of the graph that run on the Edge TPU.")
    on_chip_bytes: Count | None = Field(default=None, description="Parameters that stay on the chip.")
    on_chip_free_bytes: Count | None = Field(default=None, description="What is left there for parameters.")
    off_chip_bytes: Count | None = Field(default=None, description="Parameters streamed to the chip for every frame.")
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 of the compiled file, `model_edgetpu.tflite`: what a Coral runs in the model's place.",
    )
    size: Count | None = Field(default=None, description="Bytes of the compiled file.")

    @model_validator(mode="after")
    def _honest(self) -> Self:
        facts = (self.compiler, self.operators_on_edge_tpu, self.operators_on_cpu, self.digest, self.size)
        if self.status is EdgeTpuStatus.COMPILED and None in facts:
            raise ValueError("compiled needs the compiler's version, both counts of operators, digest and size")
        if self.status is not EdgeTpuStatus.COMPILED and any(fact is not None for fact in facts):
            raise ValueError(f"only a compiled model has a compiler's facts, and this one is {self.status}")
        return self


class Manifest(Wire):
    """What a model file is; lies beside it as `manifest.json`."""

    release: Count = Field(description="Grows with every release; 0 is what the card was flashed with.")
    digest: Digest = Field(description="SHA-256 of the model file, `model.tflite`, which runs on any CPU.")
    size: Count = Field(description="Bytes of the model file.")
    head: Head
    input_size: Annotated[int, Field(ge=32, le=1280, multiple_of=32)] = Field(
        description="Side of the square input in px."
    )
    labels: tuple[Label, ...] = Field(description="Class names in the order of the class logits.")
    thresholds: dict[Label, Ratio] = Field(description="Confidence from which a detection of this class counts.")
    compiled_for_edge_tpu: bool = Field(description="True only where Edge TPU's compiler made this very file.")
    trained_on: dict[str, Any] = Field(
        default_factory=dict, description="Data sets, epochs, base, seed, tool versions."
    )
    golden_digest: Digest | None = Field(
        default=None, description="SHA-256 of the golden frames' archive (`golden.zip`); absent: it has none."
    )
    edge_tpu: EdgeTpu | None = Field(
        default=None, description="What is known about this model on the Edge TPU; absent: nobody looked."
    )
    metrics: dict[str, Any] = Field(
        default_factory=dict, description="Scores of this file, as `trainer evaluate` printed them."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.labels != LABELS:
            raise ValueError(f"labels must be {[str(label) for label in LABELS]}, in this order")
        if set(self.thresholds) != set(LABELS):
            raise ValueError("thresholds must name every label once")
        return self


def read_manifest(model: Path) -> Manifest:
    """The manifest beside `model`, checked against the file's bytes.

    Raises ContractError that says what is missing or does not fit: file, manifest, head layout, digest.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the model {model}: {error.strerror}") from error
    beside = model.with_name(MANIFEST_NAME)
    try:
        payload = beside.read_bytes()
    except OSError as error:
        raise ContractError(
            f"{model} has no {MANIFEST_NAME} beside it, so its head layout and thresholds are unknown; "
            "`trainer export` writes both"
        ) from error
    try:
        manifest = Manifest.decode(payload, limit=MANIFEST_LIMIT)
    except ContractError as error:
        raise ContractError(f"{beside}: {error}") from error
    digest = sha256(content).hexdigest()
    if digest != manifest.digest:
        raise ContractError(
            f"{model} is not the file that {beside} describes: its SHA-256 is {digest[:12]}..., not {manifest.digest[:12]}..."
        )
    return manifest


def compiled_file(model: Path, manifest: Manifest) -> Path | None:
    """The file beside `model` for the Edge TPU; None where the manifest names none.

    Raises ContractError where it is named but missing or another file.
    """
    if compiled_digest(manifest) is None:
        return None
    compiled = model.with_name(COMPILED_NAME)
    try:
        content = compiled.read_bytes()
    except FileNotFoundError as error:
        raise ContractError(f"{model} came without {COMPILED_NAME}, its file for the Edge TPU") from error
    except OSError as error:
        raise ContractError(f"cannot read the compiled model {compiled}: {error.strerror}") from error
    require_compiled(content, manifest)
    return compiled


def compiled_digest(manifest: Manifest) -> str | None:
    """SHA-256 of the file for the Edge TPU; None where the manifest names none."""
    told = manifest.edge_tpu
    return told.digest if told and told.status is EdgeTpuStatus.COMPILED else None


def require_compiled(content: bytes, manifest: Manifest) -> None:
    """Raises ContractError unless `content` is the file for the Edge TPU that the manifest names."""
    if sha256(content).hexdigest() != compiled_digest(manifest):
        raise ContractError(f"{COMPILED_NAME} is not the compiled file that the manifest names: copy it anew")
