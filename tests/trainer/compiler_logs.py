"""What `edgetpu_compiler` prints, in its published line formats; the figures are those of the threads named beside each."""

NOT_ALL = """
Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the \
CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, \
visit g.co/coral/model-reqs.
"""

# 2.0, which says what there is on the chip instead of what is left; figures: the article that
# google-coral/edgetpu issue 25 links, "Hacking Google Coral Edge TPU: motion blur and Lanczos resize"
VERSION_2_0 = f"""\
Edge TPU Compiler version 2.0.267685300

Model compiled successfully in 231 ms.

Input model: blur.tflite
Input size: 3.03KiB
Output model: blur_edgetpu.tflite
Output size: 296.85KiB
On-chip memory available for caching model parameters: 1.73MiB
On-chip memory used for caching model parameters: 10.00KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: blur_edgetpu.log
{NOT_ALL}\
Number of operations that will run on Edge TPU: 1
Number of operations that will run on CPU: 2

Operator                       Count      Status

DEPTHWISE_CONV_2D              1          Mapped to Edge TPU
DEQUANTIZE                     1          Operation is working on an unsupported data type
QUANTIZE                       1          Operation is otherwise supported, but not mapped due to some unspecified limitation
"""

# 14.1 without -s; figures: google-coral/edgetpu issue 211, cut short where the thread's excerpt ends
VERSION_14_STREAMS = f"""\
Edge TPU Compiler version 14.1.317412892

Model compiled successfully in 1626 ms.

Input model: cam.tflite
Input size: 46.29MiB
Output model: cam_edgetpu.tflite
Output size: 47.24MiB
On-chip memory used for caching model parameters: 5.99MiB
On-chip memory remaining for caching model parameters: 74.00KiB
Off-chip memory used for streaming uncached model parameters: 15.73MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 108
Operation log: cam_edgetpu.log
{NOT_ALL}\
Number of operations that will run on Edge TPU: 102
Number of operations that will run on CPU: 6
See the operation log file for individual operation details.
"""

# 15.0, -s, all mapped, most parameters streamed; format: google-coral/edgetpu issue 427, figures: a Japanese walk-through of
# FaceNet on the Coral Dev Board (`edgetpu_compiler --min_runtime_version 12 --show_operations facenet_keras.tflite`)
VERSION_15_ALL = """\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 8222 ms.

Input model: facenet.tflite
Input size: 22.71MiB
Output model: facenet_edgetpu.tflite
Output size: 22.43MiB
On-chip memory used for caching model parameters: 7.04MiB
On-chip memory remaining for caching model parameters: 1.25KiB
Off-chip memory used for streaming uncached model parameters: 15.06MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 214
Operation log: facenet_edgetpu.log

Operator                       Count      Status

QUANTIZE                       33         Mapped to Edge TPU
MEAN                           1          Mapped to Edge TPU
MAX_POOL_2D                    3          Mapped to Edge TPU
ADD                            21         Mapped to Edge TPU
FULLY_CONNECTED                1          Mapped to Edge TPU
CONCATENATION                  23         Mapped to Edge TPU
CONV_2D                        132        Mapped to Edge TPU
"""

# 15.0, -s, nearly all on the CPU; figures: tetutaro/yolo_various_framework, weights/README.md
VERSION_15_CPU = f"""\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 577 ms.

Input model: tiny.tflite
Input size: 8.58MiB
Output model: tiny_edgetpu.tflite
Output size: 8.70MiB
On-chip memory used for caching model parameters: 3.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 36
Operation log: tiny_edgetpu.log
{NOT_ALL}\
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 34

Operator                       Count      Status

MAX_POOL_2D                    6          More than one subgraph is not supported
QUANTIZE                       2          Operation is otherwise supported, but not mapped due to some unspecified limitation
QUANTIZE                       1          Mapped to Edge TPU
QUANTIZE                       1          More than one subgraph is not supported
CONV_2D                        1          Mapped to Edge TPU
CONV_2D                        12         More than one subgraph is not supported
RESIZE_NEAREST_NEIGHBOR        1          Operation version not supported
LEAKY_RELU                     11         Operation not supported
CONCATENATION                  1          More than one subgraph is not supported
"""

# The `_edgetpu.log` file of 15.0 has the table alone; format: google-coral/edgetpu issue 420
VERSION_15_FILE = """\
Edge TPU Compiler version 15.0.340273435
Input: test.tflite
Output: test_edgetpu.tflite

Operator                       Count      Status

CONV_2D                        20         Mapped to Edge TPU
RESIZE_NEAREST_NEIGHBOR        4          Operation version not supported
"""

# 16.0, -s -a: two subgraphs, streaming; figures: jveitchmichaelis/edgetpu-yolo, export.md
VERSION_16_TWO_PARTS = f"""\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 3173 ms.

Input model: yolov5s-int8-224.tflite
Input size: 7.37MiB
Output model: yolov5s-int8-224_edgetpu.tflite
Output size: 8.34MiB
On-chip memory used for caching model parameters: 6.08MiB
On-chip memory remaining for caching model parameters: 0.00B
Off-chip memory used for streaming uncached model parameters: 1.70MiB
Number of Edge TPU subgraphs: 2
Total number of operations: 294
Operation log: yolov5s-int8-224_edgetpu.log
{NOT_ALL}\
Number of operations that will run on Edge TPU: 289
Number of operations that will run on CPU: 5

Operator                       Count      Status

RESIZE_NEAREST_NEIGHBOR        2          Mapped to Edge TPU
CONCATENATION                  1          Operation is otherwise supported, but not mapped due to some unspecified limitation
CONCATENATION                  17         Mapped to Edge TPU
STRIDED_SLICE                  13         Mapped to Edge TPU
TRANSPOSE                      1          Operation is otherwise supported, but not mapped due to some unspecified limitation
TRANSPOSE                      2          Mapped to Edge TPU
MAX_POOL_2D                    3          Mapped to Edge TPU
LOGISTIC                       62         Mapped to Edge TPU
QUANTIZE                       2          Operation is otherwise supported, but not mapped due to some unspecified limitation
QUANTIZE                       24         Mapped to Edge TPU
SUB                            3          Mapped to Edge TPU
PAD                            6          Mapped to Edge TPU
RESHAPE                        1          Operation is otherwise supported, but not mapped due to some unspecified limitation
RESHAPE                        5          Mapped to Edge TPU
ADD                            10         Mapped to Edge TPU
MUL                            80         Mapped to Edge TPU
CONV_2D                        62         Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""

# 16.0 without -s, all mapped: the sum alone; figures: google-coral/edgetpu issue 572
VERSION_16_SHORT = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 542 ms.

Input model: quantized_model.tflite
Input size: 4.04MiB
Output model: quantized_model_edgetpu.tflite
Output size: 4.13MiB
On-chip memory used for caching model parameters: 604.50KiB
On-chip memory remaining for caching model parameters: 511.50KiB
Off-chip memory used for streaming uncached model parameters: 3.45MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 50
Operation log: quantized_model_edgetpu.log
See the operation log file for individual operation details.
Compilation child process completed within timeout period.
Compilation succeeded!
"""

# 16.0 with -d: attempts that fail, then one that does not; format: google-coral/edgetpu issues 444 and 671
FAILED_ATTEMPT = """\
Try to compile segment with 322 ops
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
"""
VERSION_16_SEARCH = (
    "Edge TPU Compiler version 16.0.384591198\nSearching for valid delegate with step 10\n"
    + FAILED_ATTEMPT
    + "Try to compile segment with 50 ops\nIntermediate tensors: Reshape_5,Sigmoid1\n"
    + VERSION_16_SHORT.partition("\n")[2]
)

FAILURES = {
    # google-coral/edgetpu issue 449
    "Edge TPU Compiler version 16.0.384591198\n" + FAILED_ATTEMPT: "Compilation failed due to large activation tensors in model",
    # google-coral/edgetpu issue 829
    """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.
ERROR: Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized tensors.
Compilation failed: Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter.
Compilation child process completed within timeout period.
Compilation failed!
""": "dynamic-sized tensors",
    # google-coral/edgetpu issue 879
    """\
Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'QUANTIZE' version '3'. An older version of this builtin might be supported. Are you using an \
old TFLite binary with a newer model?

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
""": "'QUANTIZE' version '3'",
    # tensorflow/tensorflow issue 46806
    "Edge TPU Compiler version 15.0.340273435\nInvalid model: model.tflite\nModel not quantized\n": "Model not quantized",
    # google-coral/edgetpu issue 211
    "Edge TPU Compiler version 14.1.317412892\n\nInternal compiler error. Aborting! \n": "Internal compiler error",
}  # fmt: skip
