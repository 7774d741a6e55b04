"""Which operators of a TFLite file XNNPACK does not take, asked of the runtime itself."""

from __future__ import annotations

from collections import Counter

from edgekit.emit.census import builtin_names, read_tflite

_DELEGATE = "DELEGATE"


def outside_xnnpack(content: bytes) -> dict[str, int]:
    """Operator name → how many LiteRT runs with its own kernels, one by one, instead of in XNNPACK's partitions.

    Known reasons, seen with LiteRT 2.3: CONCATENATION of more than five tensors; SLICE with a size of -1; SPLIT_V;
    SPLIT into more than four; PADV2; QUANTIZE from uint8 to int8; REVERSE_V2; and, on int8 only, RELU,
    AVERAGE_POOL_2D, SOFTMAX and HARD_SWISH. The emitter avoids all of these but the last two and REVERSE_V2.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    model, names = read_tflite(content), builtin_names()
    operators = model.subgraphs[0].operators
    outputs = [set(op.outputs) for op in operators]
    # The runtime lists the file's operators and then the delegate's partitions. A partition stands for every operator
    # between its inputs and its outputs.
    inside: set[int] = set()
    for entry in interpreter._get_ops_details():
        if entry["op_name"] != _DELEGATE:
            continue
        given = {int(i) for i in entry["inputs"]}
        wanted = [int(o) for o in entry["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = next((i for i, made in enumerate(outputs) if tensor in made), None)
            if maker is None or maker in inside or tensor in given:
                continue
            inside.add(maker)
            wanted += [int(i) for i in operators[maker].inputs if int(i) >= 0]
    left = [names[model.operatorCodes[op.opcodeIndex].builtinCode] for i, op in enumerate(operators) if i not in inside]
    return dict(sorted(Counter(left).items()))
