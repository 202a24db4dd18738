#!/usr/bin/env python3
"""make_gguf.py FILE [LAYERS FEED SEED]: a llama model with random weights, about 100 MB, always the same bytes for the same arguments.

For servers that must load, hold and run a model of a real shape where nobody reads the text. The tokenizer is small and
valid: the three special tokens, the 256 byte tokens, the printable letters, and some words for common pieces.
Python's standard library only: a weight is a half-precision number of random sign and a size between 2^-6 and 2^-5.
"""
import random
import struct
import sys

VERSION = "1"                       # change it when the bytes change: caches look at it
SEED = 20231116
EMBED, LAYERS, HEADS, FEED, CONTEXT = 768, 7, 12, 2048, 8192
ALIGN = 32
U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5            # GGUF's value types
TENSOR_F32, TENSOR_F16 = 0, 1
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6             # GGUF's token types

WORDS = ("the of and to in is that it for was on are as with his they be at one have this from or had by not but what some we "
         "can out other were all there when up use your how said an each she which do their time if will way about many then "
         "them write would like so these her long make thing see him two has look more day could go come did number sound no "
         "most people my over know water than call first who may down side been now find").split()


def vocabulary():
    """(text, score, type) of every token. A piece's score is minus its rank: earlier pieces are merged first."""
    yield from (("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL))
    yield from ((f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256))
    pieces = []
    for word in WORDS:              # every prefix, so that merging letter by letter can reach the word
        pieces += ["\u2581" + word[:n] for n in range(1, len(word) + 1)]
    letters = ["\u2581"] + [chr(c) for c in range(33, 127)]
    for rank, piece in enumerate(dict.fromkeys(pieces + letters)):
        yield piece, -float(rank + 1), NORMAL


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def array(kind, items):
    if kind == STRING:
        body = b"".join(map(text, items))
    else:
        body = struct.pack(f"<{len(items)}{'f' if kind == F32 else 'i'}", *items)
    return struct.pack("<IQ", kind, len(items)) + body


def metadata():
    tokens, scores, kinds = zip(*vocabulary())
    numbers = {"context_length": CONTEXT, "embedding_length": EMBED, "block_count": LAYERS, "feed_forward_length": FEED,
               "attention.head_count": HEADS, "attention.head_count_kv": HEADS, "rope.dimension_count": EMBED // HEADS,
               "vocab_size": len(tokens)}
    yield "general.architecture", STRING, text("llama")
    yield "general.name", STRING, text("random weights")
    for name, value in numbers.items():
        yield "llama." + name, U32, struct.pack("<I", value)
    yield "llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)
    yield "general.file_type", U32, struct.pack("<I", TENSOR_F16)
    yield "general.alignment", U32, struct.pack("<I", ALIGN)
    yield "tokenizer.ggml.model", STRING, text("llama")
    yield "tokenizer.ggml.tokens", ARRAY, array(STRING, tokens)
    yield "tokenizer.ggml.scores", ARRAY, array(F32, scores)
    yield "tokenizer.ggml.token_type", ARRAY, array(I32, kinds)
    for token, name in enumerate(("unknown", "bos", "eos")):
        yield f"tokenizer.ggml.{name}_token_id", U32, struct.pack("<I", token)


def tensors():
    """(name, shape, type), in file order; a shape's first number is the row length, as GGUF has it."""
    words = len(list(vocabulary()))
    yield "token_embd.weight", (EMBED, words), TENSOR_F16
    for layer in range(LAYERS):
        head = f"blk.{layer}."
        yield head + "attn_norm.weight", (EMBED,), TENSOR_F32
        for part in ("q", "k", "v", "output"):
            yield head + f"attn_{part}.weight", (EMBED, EMBED), TENSOR_F16
        yield head + "ffn_norm.weight", (EMBED,), TENSOR_F32
        yield head + "ffn_gate.weight", (EMBED, FEED), TENSOR_F16
        yield head + "ffn_up.weight", (EMBED, FEED), TENSOR_F16
        yield head + "ffn_down.weight", (FEED, EMBED), TENSOR_F16
    yield "output_norm.weight", (EMBED,), TENSOR_F32
    yield "output.weight", (EMBED, words), TENSOR_F16


def size_of(shape, kind):
    count = 1
    for edge in shape:
        count *= edge
    return count * (2 if kind == TENSOR_F16 else 4)


# the upper byte of a half: any sign, exponent 9 (2^-6), the two upper bits of the fraction
UPPER = bytes((byte & 0x80) | 9 << 2 | (byte & 3) for byte in range(256))


def weights(rnd, shape, kind):
    size = size_of(shape, kind)
    if kind == TENSOR_F32:
        return struct.pack("<f", 1.0) * (size // 4)     # norms
    data = bytearray(size)
    data[0::2] = rnd.randbytes(size // 2)
    data[1::2] = rnd.randbytes(size // 2).translate(UPPER)
    return data


def padding(position):
    return b"\0" * (-position % ALIGN)


def main():
    global LAYERS, FEED, SEED
    if len(sys.argv) not in (2, 5):
        sys.exit("usage: make_gguf.py FILE [LAYERS FEED SEED]")
    if len(sys.argv) == 5:
        LAYERS, FEED, SEED = map(int, sys.argv[2:])
    pairs, table = list(metadata()), list(tensors())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(table), len(pairs))
    for name, kind, value in pairs:
        head += text(name) + struct.pack("<I", kind) + value
    offset = 0
    for name, shape, kind in table:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += size_of(shape, kind)
        offset += -offset % ALIGN
    rnd = random.Random(SEED)
    with open(sys.argv[1], "wb") as out:
        out.write(head + padding(len(head)))
        for _, shape, kind in table:
            out.write(weights(rnd, shape, kind))
            out.write(padding(out.tell()))


if __name__ == "__main__":
    main()
