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

from contract.labels import LABELS
from trainer import ranges
from trainer.recentre import recentred

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def convert(graph: Path, calibration: Path, out: Path) -> None:
    """Write `out`: int8 in and out, per-channel weights, for each activation the range of least error over all calibration images."""
    images = np.load(calibration)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # the converter looks here for sample pictures, and would download some if there were none
        picks = images[np.linspace(0, len(images) - 1, 20).astype(int)]
        step = max(1, images.shape[1] // 128)
        samples = picks[:, ::step, ::step][:, :128, :128].astype(np.float32) / 255
        np.save("calibration_image_sample_data_20x128x128x3_float32.npy", samples)

        import onnx2tf
        import tensorflow as tf
        from tensorflow.lite.python.convert import mlir_quantize

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
        converter._experimental_calibrate_only = True  # as the library's own quantisation debugger does
        narrowed = _narrowed(converter.convert(), images)

        def quantised(graph: bytes) -> bytes:
            return bytes(mlir_quantize(graph, fully_quantize=True, input_data_type=tf.int8, output_data_type=tf.int8))

        out.write_bytes(quantised(recentred(narrowed, quantised(narrowed), images)))


def _narrowed(calibrated: bytes, images: Images) -> bytes:
    """The calibrated float graph with ranges of least error instead of extremes."""
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(calibrated))
    (graph,) = model.subgraphs
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    ranged = {
        int(tensor): graph.tensors[tensor].quantization
        for operator in graph.operators
        for tensor in operator.outputs
        if graph.tensors[tensor].quantization is not None and graph.tensors[tensor].quantization.max is not None
    }
    extremes = {tensor: (float(told.min[0]), float(told.max[0])) for tensor, told in ranged.items()}
    gated = {int(one.inputs[0]) for one in graph.operators if kinds[one.opcodeIndex] == "LOGISTIC"}
    classes = {int(tensor) for tensor in graph.outputs if graph.tensors[tensor].shape[-1] == len(LABELS)}
    interpreter = tf.lite.Interpreter(
        model_content=bytes(calibrated), experimental_preserve_all_tensors=True, num_threads=2
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]

    def looks() -> Iterator[dict[int, Floats]]:
        for number, image in enumerate(images, start=1):
            interpreter.set_tensor(entry, image[None].astype(np.float32) / 255)
            interpreter.invoke()
            yield {tensor: interpreter.get_tensor(tensor) for tensor in extremes}
            if number % 20 == 0 or number == len(images):
                print(f"ranges: {number} of {len(images)} images", flush=True)

    for tensor, histogram in ranges.histograms(extremes, looks()).items():
        if tensor in classes:
            low, high = ranges.class_range(histogram)
        else:
            low, high = ranges.best_range(histogram, ranges.silu if tensor in gated else ranges.same)
        ranged[tensor].min, ranged[tensor].max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _samples(images: Images) -> Iterator[list[Floats]]:
    for number, image in enumerate(images, start=1):
        if number % 50 == 0 or number == len(images):
            print(f"calibrating: {number} of {len(images)} images", flush=True)
        yield [image[None].astype(np.float32) / 255]


if __name__ == "__main__":
    convert(*(Path(argument).resolve() for argument in sys.argv[1:4]))
