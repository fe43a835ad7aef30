"""ONNX to full-integer int8 TFLite; runs in the export environment.

`python -m trainer.convert GRAPH.onnx CALIBRATION.npy OUT.tflite`; the calibration set is uint8 RGB (n, size, size, 3).
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def convert(graph: Path, calibration: Path, out: Path) -> None:
    """Write `out`: int8 in and out, per-channel weights, ranges taken from every calibration image."""
    images = np.load(calibration)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # the converter looks here for sample pictures, and would download some if there were none
        picks = images[np.linspace(0, len(images) - 1, 20).astype(int)]
        step = max(1, images.shape[1] // 128)
        samples = picks[:, ::step, ::step][:, :128, :128].astype(np.float32) / 255
        np.save("calibration_image_sample_data_20x128x128x3_float32.npy", samples)

        import onnx2tf
        import tensorflow as tf

        model = onnx2tf.convert(
            input_onnx_file_path=str(graph), output_folder_path=scratch, non_verbose=True, disable_model_save=True
        )
        size = images.shape[1]
        function = tf.function(lambda images: model(images)).get_concrete_function(
            tf.TensorSpec([1, size, size, 3], tf.float32, name="images")
        )
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter.representative_dataset = lambda: _samples(images)
        out.write_bytes(converter.convert())


def _samples(images: Images) -> Iterator[list[Floats]]:
    for number, image in enumerate(images, start=1):
        if number % 50 == 0 or number == len(images):
            print(f"calibrating: {number} of {len(images)} images", flush=True)
        yield [image[None].astype(np.float32) / 255]


if __name__ == "__main__":
    convert(*(Path(argument).resolve() for argument in sys.argv[1:4]))
