"""Stands in for `edgetpu_compiler`: its flags, its files, its printed lines; it maps what is simple and compiles nothing real.

Line formats as published of version 16.0: google-coral/edgetpu issues 512, 671, 829 and 879. Like the real one it works in a child
process, maps one run of operators from the start, and leaves all behind the first foreign one to the CPU.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

VERSION = "16.0.384591198"
MAPS = {
    "CONV_2D", "LOGISTIC", "MUL", "CONCATENATION", "ADD", "PAD", "MAX_POOL_2D", "QUANTIZE", "RESIZE_NEAREST_NEIGHBOR", "RESHAPE",
}  # fmt: skip
READS = {"CONV_2D": 5}
NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", "--show_operations", action="store_true")
    parser.add_argument("-o", "--out_dir", type=Path, default=Path())
    parser.add_argument("-v", "--version", action="store_true")
    parser.add_argument("model", type=Path, nargs="?")
    options = parser.parse_args()
    print(f"Edge TPU Compiler version {VERSION}")
    if options.version:
        return 0
    content = options.model.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    codes = [(NAMES[max(one.builtinCode, one.deprecatedBuiltinCode)], one.version) for one in model.operatorCodes]
    for name, version in codes:
        if version > READS.get(name, 9):
            print(
                f"ERROR: Didn't find op for builtin opcode '{name}' version '{version}'. An older version of this builtin might be "
                f"supported. Are you using an old TFLite binary with a newer model?\n\nERROR: Registration failed.\n\n"
                f"Invalid model: {options.model}\nModel could not be parsed"
            )
            return 1
    if any(tensor.type == schema.TensorType.FLOAT32 for tensor in graph.tensors):
        print(f"Invalid model: {options.model}\nModel not quantized")
        return 1
    print("Started a compilation timeout timer of 180 seconds.")
    if any(-1 in (tensor.shapeSignature if tensor.shapeSignature is not None else []) for tensor in graph.tensors):
        print(
            "ERROR: Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized "
            "tensors.\nCompilation failed: Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite "
            "interpreter.\nCompilation child process completed within timeout period.\nCompilation failed! "
        )
        return 1
    names = [codes[operator.opcodeIndex][0] for operator in graph.operators]
    mapped = next((spot for spot, name in enumerate(names) if name not in MAPS), len(names))
    table = Counter((name, "Mapped to Edge TPU") for name in names[:mapped])
    table += Counter(
        (name, "More than one subgraph is not supported" if name in MAPS else "Operation not supported")
        for name in names[mapped:]
    )
    made = options.out_dir / f"{options.model.stem}_edgetpu.tflite"
    made.write_bytes(compiled(model, mapped))
    rows = "\n".join(f"{name:31}{count:<11}{status}" for (name, status), count in table.items())
    rows = f"Operator                       Count      Status\n\n{rows}"
    made.with_suffix(".log").write_text(
        f"Edge TPU Compiler version {VERSION}\nInput: {options.model}\nOutput: {made}\n\n{rows}\n"
    )
    kept = sum(len(one.data) for one in model.buffers if one.data is not None)
    print(
        f"\nModel compiled successfully in 63 ms.\n\nInput model: {options.model}\nInput size: {len(content) / 1024:.2f}KiB\n"
        f"Output model: {made}\nOutput size: {made.stat().st_size / 1024:.2f}KiB\n"
        f"On-chip memory used for caching model parameters: {kept / 1024:.2f}KiB\n"
        "On-chip memory remaining for caching model parameters: 3.29MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
        f"Number of Edge TPU subgraphs: {int(mapped > 0)}\nTotal number of operations: {len(names)}\n"
        f"Operation log: {made.with_suffix('.log')}"
    )
    if mapped < len(names):
        print(
            "\nModel successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead "
            "run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge "
            f"TPU. For details, visit g.co/coral/model-reqs.\nNumber of operations that will run on Edge TPU: {mapped}\n"
            f"Number of operations that will run on CPU: {len(names) - mapped}"
        )
    print(f"\n{rows}" if options.show_operations else "See the operation log file for individual operation details.")
    print("Compilation child process completed within timeout period.\nCompilation succeeded! ")
    return 0


def compiled(model: schema.ModelT, mapped: int) -> bytes:
    """The graph with its first `mapped` operators replaced by one custom operator."""
    graph = model.subgraphs[0]
    done, left = graph.operators[:mapped], graph.operators[mapped:]
    if done:
        made = {int(one) for operator in done for one in operator.outputs}
        wanted = {int(one) for one in graph.outputs} | {int(one) for operator in left for one in operator.inputs}
        model.operatorCodes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=schema.BuiltinOperator.CUSTOM, builtinCode=schema.BuiltinOperator.CUSTOM, customCode=b"edgetpu-custom-op"
            )
        )  # fmt: skip
        ours = schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1, inputs=graph.inputs, outputs=sorted(made & wanted), customOptions=[1, 2, 3]
        )  # fmt: skip
        graph.operators = [ours, *left]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(main())
