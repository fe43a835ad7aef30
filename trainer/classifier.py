"""Keras MobileNetV2 on face crops, from scratch, to full int8 TFLite; runs in the export environment.

`python -m trainer.classifier CROPS OUT.tflite RECIPE.json`; CROPS holds `crops.npy`, uint8 RGB (n, stored, stored, 3), and
`kinds.npy`. No ImageNet start: this environment downloads nothing.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

CALIBRATION_CROPS = 300
Images = npt.NDArray[np.uint8]
Kinds = npt.NDArray[np.int64]


def build(size: int, alpha: float, classes: int, *, batch: int | None = None, steps: int = 1000) -> Any:
    """MobileNetV2 with `classes` logits, to be trained for `steps`; input (batch, size, size, 3) in 0..1."""
    images = keras.Input((size, size, 3), batch_size=batch, name="images")
    body = keras.applications.MobileNetV2(
        input_tensor=images, alpha=alpha, weights=None, include_top=False, pooling="avg"
    )
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras' .999 needs more steps than a short training has: its averages would still be what they began as.
            layer.momentum = min(0.98, 1 - 20 / max(40, steps))
    value = keras.layers.Dropout(0.2)(body.output)
    return keras.Model(images, keras.layers.Dense(classes, name="logits")(value))


def train(crops: Images, kinds: Kinds, recipe: dict[str, Any], backup: Path) -> Any:
    """Fit on shifted, stretched, mirrored and re-lit windows of the crops; one line an epoch on stdout.

    A training that was cut off goes on from `backup`. Rare classes weigh more, by the square root of how rare they are.
    """
    keras.utils.set_random_seed(recipe["seed"])
    classes = int(kinds.max()) + 1
    steps = max(1, len(crops) // recipe["batch"])
    total = steps * recipe["epochs"]
    model = build(recipe["size"], recipe["alpha"], classes, steps=total)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - total // 20), warmup_target=recipe["rate"], warmup_steps=max(1, total // 20), alpha=0.01
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05), metrics=["accuracy"],
    )  # fmt: skip
    counts = np.bincount(kinds, minlength=classes)
    weights = np.sqrt(len(kinds) / classes / np.maximum(1, counts))
    model.fit(
        _batches(crops, kinds, classes, recipe), steps_per_epoch=steps, epochs=recipe["epochs"], verbose=0,
        class_weight=dict(enumerate((weights / weights.mean()).tolist())),
        callbacks=[keras.callbacks.BackupAndRestore(str(backup)), _Progress(recipe["epochs"])],
    )  # fmt: skip
    return model


def convert(model: Any, calibration: Images, recipe: dict[str, Any]) -> bytes:
    """Full int8 with the batch fixed at one; `calibration` is uint8 RGB (n, size, size, 3)."""
    fixed = build(recipe["size"], recipe["alpha"], model.output_shape[-1], batch=1)
    fixed.set_weights(model.get_weights())
    calibration[0, 0, 0], calibration[0, 0, 1] = 0, 255  # the input's scale follows the range seen: all of a byte
    with tempfile.TemporaryDirectory() as scratch:
        with contextlib.redirect_stdout(io.StringIO()):  # it lists every variable
            fixed.export(scratch)  # from_concrete_functions loses the variables of a Keras model
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter.representative_dataset = lambda: _samples(calibration)
        return bytes(converter.convert())


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """One line an epoch, with the time left."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs, self._begun, self._first = epochs, time.monotonic(), 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - the base class names it
        self._first = self._first or epoch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        each = (time.monotonic() - self._begun) / (epoch + 2 - self._first)
        logs = logs or {}
        print(
            f"epoch {epoch + 1} of {self._epochs}: loss {logs['loss']:.3f}, right {logs['accuracy']:.3f} (training crops), "
            f"{each * (self._epochs - epoch - 1) / 60:.1f} min left",
            flush=True,
        )


def _batches(crops: Images, kinds: Kinds, classes: int, recipe: dict[str, Any]) -> tf.data.Dataset:
    size, window, stored = recipe["size"], recipe["window"], crops.shape[1]

    def vary(images: Any, wanted: Any) -> tuple[Any, Any]:
        number = tf.shape(images)[0]
        turn = tf.random.normal([number], stddev=0.1)  # rad
        side = window * tf.exp(tf.random.normal([number], stddev=recipe["stretch"])) * stored / size
        mirror = tf.where(tf.random.uniform([number]) < 0.5, -1.0, 1.0)
        a, b = side * tf.cos(turn) * mirror, -side * tf.sin(turn)
        c, d = side * tf.sin(turn) * mirror, side * tf.cos(turn)
        spot = stored * (0.5 + tf.clip_by_value(tf.random.normal([2, number], stddev=recipe["shift"]), -0.15, 0.15))
        half, zero = size / 2, tf.zeros([number])
        matrix = tf.stack([a, b, spot[0] - (a + b) * half, c, d, spot[1] - (c + d) * half, zero, zero], axis=1)
        images = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(images, tf.float32) / 255, transforms=matrix, output_shape=[size, size], fill_value=0.0,
            interpolation="BILINEAR", fill_mode="NEAREST",
        )  # fmt: skip
        light = tf.random.uniform([number, 1, 1, 1], -0.15, 0.15)
        contrast = tf.random.uniform([number, 1, 1, 1], 0.7, 1.3)
        colour = tf.random.uniform([number, 1, 1, 1], 0.4, 1.4)
        grey = tf.reduce_mean(images, axis=3, keepdims=True)
        images = grey + (images - grey) * colour
        images = tf.clip_by_value((images - 0.5) * contrast + 0.5 + light, 0.0, 1.0)
        return images, tf.one_hot(wanted, classes)

    order = tf.data.Dataset.range(len(kinds)).shuffle(len(kinds), seed=recipe["seed"]).repeat()
    return (
        order.batch(recipe["batch"])
        .map(lambda rows: tf.numpy_function(lambda some: (crops[some], kinds[some]), [rows], (tf.uint8, tf.int64)))
        .map(lambda images, wanted: (tf.ensure_shape(images, (None, *crops.shape[1:])), tf.ensure_shape(wanted, (None,))))
        .map(vary)
        .prefetch(2)
    )  # fmt: skip


def _middles(crops: Images, size: int, window: float) -> Images:
    """The windows that the classifier will be shown: (n, size, size, 3)."""
    low, high = 0.5 - window / 2, 0.5 + window / 2
    boxes = np.tile([[low, low, high, high]], (len(crops), 1))
    middles = tf.image.crop_and_resize(crops.astype(np.float32), boxes, np.arange(len(crops)), [size, size])
    return np.asarray(middles).round().clip(0, 255).astype(np.uint8)


def _samples(images: Images) -> Iterator[list[npt.NDArray[np.float32]]]:
    for image in images:
        yield [image[None].astype(np.float32) / 255]


def main() -> None:
    """Train, convert, and write OUT.tflite last of all, whole."""
    folder, out, recipe = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    crops, kinds = np.load(folder / "crops.npy"), np.load(folder / "kinds.npy")
    model = train(crops, kinds, recipe, out.parent / "backup")
    picked = np.random.default_rng(recipe["seed"]).permutation(len(crops))[:CALIBRATION_CROPS]
    content = convert(model, _middles(crops[picked], recipe["size"], recipe["window"]), recipe)
    beside = out.with_suffix(".part")
    beside.write_bytes(content)
    beside.replace(out)


if __name__ == "__main__":
    main()
