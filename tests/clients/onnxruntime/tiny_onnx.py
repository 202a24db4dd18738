"""tiny_onnx.py: an ONNX model as bytes, written by hand: layers of Y = Relu(X*W + B), X of any height.

An ONNX file is one protocol-buffers message. A *field* is a number, a kind and a value; messages nest as fields. The numbers
below are those of onnx.proto: a ModelProto holds a GraphProto with nodes, initial tensors, inputs and outputs."""
import random, struct

FLOAT = 1


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, numbers):
    count = 1
    for d in dims:
        count *= d
    data = struct.pack(f"<{count}f", *(numbers.uniform(-1, 1) for _ in range(count)))
    return b"".join(field(1, d) for d in dims) + field(2, FLOAT) + field(8, name) + field(9, data)


def node(operation, inputs, output):
    return b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, f"{operation} {output}") + field(4, operation)


def value(name, dims):
    shape = b"".join(field(1, field(2 if isinstance(d, str) else 1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


def model(width, layers):
    numbers, graph, x = random.Random(1), b"", "X"
    for i in range(layers):
        graph += field(1, node("MatMul", [x, f"W{i}"], f"M{i}")) + field(1, node("Add", [f"M{i}", f"B{i}"], f"A{i}"))
        graph, x = graph + field(1, node("Relu", [f"A{i}"], f"R{i}")), f"R{i}"
    graph += field(2, "layers")
    for i in range(layers):
        graph += field(5, tensor(f"W{i}", [width, width], numbers)) + field(5, tensor(f"B{i}", [width], numbers))
    graph += field(11, value("X", ["n", width])) + field(12, value(x, ["n", width]))
    return field(1, 9) + field(7, graph) + field(8, field(2, 17))
