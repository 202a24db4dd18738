"""workloads.py: device memory of transformers in training and inference, made from their shapes.

A *workload* is a function that plays a program on a *tape*: what it allocates and frees, in order, with the time that
passes between. Sizes are those of the tensors in bytes, lifetimes those of a framework that frees a tensor at its last
use (PyTorch's eager mode). Seeds are fixed, so a workload is the same everywhere.

Formulas, for b sequences of s tokens (t = b*s), hidden size h, feed-forward size f, H heads of size d, V words, 2 bytes a
number (fp16) where nothing else is said:
  weights of a layer   qkv 3hh, out hh, gate fh, up fh, down hf, two norms h; embedding and head Vh each
  attention            q, k, v and the output th each; log-sum-exp tH*4 (flash); workspace 32 MiB at most for split keys
  feed-forward         gate, up and their product tf each
  logits               tV, and tV*4 where the loss or the sampler wants fp32
  key-value cache      2*t*h a layer
  AdamW                fp32 master weights, first and second moments: 4 bytes a parameter each; gradients fp16
  matrix products      a workspace of 8 MiB is held (cuBLAS); layer norm statistics t*4 twice"""
import csv
import math
import pathlib
import random

MIB = 1 << 20
REQUESTS = pathlib.Path(__file__).resolve().parents[2] / "data/azure_slice.csv"


class Tape:
    """Records (kind, time in ns, handle, size): handles are numbers that are used again after their free."""

    def __init__(self):
        self.events, self.time, self.spare, self.next, self.size = [], 0, [], 1, {}

    def alloc(self, size):
        size = max(int(size), 1)
        handle = self.spare.pop() if self.spare else self.next
        self.next += handle == self.next
        self.size[handle] = size
        self.time += 2000
        self.events.append((True, self.time, handle, size))
        return handle

    def free(self, *handles):
        for handle in handles:
            self.time += 500
            self.events.append((False, self.time, handle, self.size.pop(handle)))
            self.spare.append(handle)

    def work(self, seconds):
        self.time += int(seconds * 1e9)


class Model:
    """A decoder of L layers; every tensor of a size that a real one has."""

    def __init__(self, layers, hidden, heads, feed, words=32000):
        self.L, self.h, self.H, self.f, self.V = layers, hidden, heads, feed, words

    def layer_parameters(self):
        h, f = self.h, self.f
        return [3 * h * h, h * h, f * h, f * h, h * f, h, h]

    def parameters(self):
        return [self.V * self.h] + self.layer_parameters() * self.L + [self.h, self.V * self.h]

    def load(self, tape, width=2):
        """Weights arrive one by one through a staging copy of the same size, as a loader that casts does."""
        handles = []
        for n in self.parameters():
            staging = tape.alloc(n * width)
            handles.append(tape.alloc(n * width))
            tape.free(staging)
            tape.work(1e-4)
        return handles

    def attention(self, tape, x, b, s, context=None):
        """One attention block without gradients; x is consumed and a new hidden state returned."""
        t, h = b * s, self.h
        norm = tape.alloc(2 * t * h)
        qkv = tape.alloc(2 * 3 * t * h)
        tape.free(norm)
        lse = tape.alloc(4 * t * self.H)
        partial = tape.alloc(min(32 * MIB, 4 * t * h * (1 + (context or s) // 2048))) if (context or s) > 512 else None
        out = tape.alloc(2 * t * h)
        tape.free(*[p for p in (partial, lse, qkv) if p])
        proj = tape.alloc(2 * t * h)
        tape.free(out)
        y = tape.alloc(2 * t * h)
        tape.free(proj, x)
        return y

    def feed_forward(self, tape, x, t):
        norm = tape.alloc(2 * t * self.h)
        gate, up = tape.alloc(2 * t * self.f), tape.alloc(2 * t * self.f)
        tape.free(norm)
        both = tape.alloc(2 * t * self.f)
        tape.free(gate, up)
        down = tape.alloc(2 * t * self.h)
        tape.free(both)
        y = tape.alloc(2 * t * self.h)
        tape.free(down, x)
        return y

    def forward(self, tape, b, s, context=None, last_only=True):
        """Logits of a pass without gradients."""
        ids = tape.alloc(8 * b * s)
        x = tape.alloc(2 * b * s * self.h)
        tape.free(ids)
        for _ in range(self.L):
            x = self.attention(tape, x, b, s, context)
            x = self.feed_forward(tape, x, b * s)
            tape.work(2e-5)
        rows = b if last_only else b * s
        last = tape.alloc(2 * rows * self.h)
        tape.free(x)
        logits = tape.alloc(2 * rows * self.V)
        tape.free(last)
        return logits

    def sample(self, tape, logits, rows):
        """fp32 logits, probabilities, a sorted copy with its indices, the tokens."""
        wide = tape.alloc(4 * rows * self.V)
        tape.free(logits)
        probabilities = tape.alloc(4 * rows * self.V)
        ordered, indices = tape.alloc(4 * rows * self.V), tape.alloc(8 * rows * self.V)
        tape.free(wide)
        tokens = tape.alloc(8 * rows)
        tape.free(probabilities, ordered, indices, tokens)

    # --- training

    def saved(self, tape, t, b, s):
        """Forward of one layer that keeps what its backward needs; the kept handles, oldest first."""
        h, f = self.h, self.f
        kept = [tape.alloc(2 * t * h), tape.alloc(4 * t), tape.alloc(4 * t), tape.alloc(2 * 3 * t * h)]
        kept += [tape.alloc(4 * t * self.H), tape.alloc(2 * t * h)]
        proj = tape.alloc(2 * t * h)
        kept.append(tape.alloc(2 * t * h))
        tape.free(proj)
        kept += [tape.alloc(2 * t * h), tape.alloc(4 * t), tape.alloc(4 * t)]
        kept += [tape.alloc(2 * t * f), tape.alloc(2 * t * f), tape.alloc(2 * t * f)]
        down = tape.alloc(2 * t * h)
        kept.append(tape.alloc(2 * t * h))
        tape.free(down)
        return kept

    def backward(self, tape, grad, kept, t, grads, trainable):
        """Backward of one layer: its gradients are kept in `grads` at the first step, temporary after that."""
        for handle in reversed(kept):
            wide = tape.size[handle]
            fresh = tape.alloc(wide)
            tape.free(handle)
            if wide == 2 * t * self.h:
                tape.free(grad)
                grad = fresh
            else:
                tape.free(fresh)
        for n in trainable:
            made = tape.alloc(2 * n)
            if grads is not None:
                grads.append(made)
            else:
                tape.free(made)
        return grad

    def step(self, tape, b, s, first, trainable=None, checkpoint=False):
        """Forward, loss, backward; gradients stay when `first`."""
        t = b * s
        grads, stacks = [] if first else None, []
        ids = tape.alloc(8 * t)
        x = tape.alloc(2 * t * self.h)
        for _ in range(self.L):
            kept = self.saved(tape, t, b, s)
            if checkpoint:  # only the layer's input stays
                tape.free(*kept[:-1])
                kept = kept[-1:]
            stacks.append(kept)
            tape.work(1e-4)
        logits = tape.alloc(2 * t * self.V)
        wide = tape.alloc(4 * t * self.V)
        loss, soft = tape.alloc(4), tape.alloc(4 * t * self.V)
        tape.free(wide)
        dlogits = tape.alloc(2 * t * self.V)
        tape.free(soft, logits)
        grad = tape.alloc(2 * t * self.h)
        tape.free(dlogits)
        for kept in reversed(stacks):
            if checkpoint:
                kept = kept + self.saved(tape, t, b, s)
            grad = self.backward(tape, grad, kept, t, grads, trainable or self.layer_parameters())
            tape.work(2e-4)
        tape.free(grad, x, ids, loss)
        return grads or []

    def adamw(self, tape, trainable, first):
        """Three fp32 tensors a parameter at the first step; then a chunked update with temporaries."""
        state = []
        for n in trainable:
            if first:
                state += [tape.alloc(4 * n) for _ in range(3)]
            chunk = [tape.alloc(4 * n), tape.alloc(4 * n)]
            tape.free(*chunk)
        tape.work(1e-3)
        return state


SMALL = Model(24, 2048, 16, 5504)           # about 1.3 billion parameters
SEVEN = Model(32, 4096, 32, 11008)          # about 7 billion
TINY = Model(12, 768, 12, 3072, 50304)      # about 0.1 billion


def requests(limit):
    """(prompt, answer) tokens of real requests: the slice of Azure's trace of 2023 (data/README.md)."""
    with open(REQUESTS, newline="") as file:
        rows = [r for r in csv.reader(line for line in file if not line.startswith("#"))]
    number = [r for r in rows if r[-1].strip().isdigit()]
    return [(max(1, int(r[-2])), max(1, int(r[-1]))) for r in number[:limit]]


# --- the workloads

def forward(tape):
    """A 7 B model scores batches of four sequences; their length is one of four."""
    rng = random.Random(1)
    SEVEN.load(tape)
    tape.alloc(8 * MIB)
    for _ in range(40):
        tape.free(SEVEN.forward(tape, 4, rng.choice((512, 1024, 1536, 2048)), last_only=False))


def training_step(tape):
    """A 1.3 B model is trained with AdamW, batches of 4 x 1024 tokens."""
    SMALL.load(tape)
    tape.alloc(8 * MIB)
    for step in range(12):
        SMALL.step(tape, 4, 1024, first=step == 0)
        SMALL.adamw(tape, SMALL.parameters(), first=step == 0)


def checkpointed(tape):
    """The same with activation checkpointing and batches of 16 x 1024."""
    SMALL.load(tape)
    tape.alloc(8 * MIB)
    for step in range(8):
        SMALL.step(tape, 16, 1024, first=step == 0, checkpoint=True)
        SMALL.adamw(tape, SMALL.parameters(), first=step == 0)


def growing_cache(tape):
    """A 7 B model generates for 16 sequences; each layer's keys and values are appended by copying, every step."""
    SEVEN.load(tape)
    tape.alloc(8 * MIB)
    for prompt in (200, 600):
        cache = [[tape.alloc(2 * 16 * prompt * SEVEN.h) for _ in "kv"] for _ in range(SEVEN.L)]
        for length in range(prompt + 1, prompt + 161):
            x = tape.alloc(2 * 16 * SEVEN.h)
            for layer in cache:
                for i in range(2):
                    grown = tape.alloc(2 * 16 * length * SEVEN.h)
                    tape.free(layer[i])
                    layer[i] = grown
                x = SEVEN.attention(tape, x, 16, 1, length)
                x = SEVEN.feed_forward(tape, x, 16)
            logits = tape.alloc(2 * 16 * SEVEN.V)
            tape.free(x)
            SEVEN.sample(tape, logits, 16)
        for layer in cache:
            tape.free(*layer)


def mixed_batch(tape):
    """A 7 B model behind a paged cache (one block), continuous batching of real requests: each step is a chunk of at most
    2048 prompt tokens and one token of every running sequence, at most 128."""
    SEVEN.load(tape)
    tape.alloc(8 * MIB)
    tape.alloc(24 << 30)
    waiting, running = requests(400), []
    while waiting or running:
        prompt = 0
        while waiting and len(running) < 128 and prompt + min(waiting[0][0], 2048 - prompt) <= 2048 and prompt < 2048:
            need, answer = waiting.pop(0)
            taken = min(need, 2048 - prompt)
            prompt += taken
            if taken < need:
                waiting.insert(0, (need - taken, answer))
            else:
                running.append([need, answer])
        tokens = prompt + len(running)
        logits = SEVEN.forward(tape, 1, max(tokens, 1), context=4096 if prompt else None)
        SEVEN.sample(tape, logits, max(1, len(running)))
        for sequence in running:
            sequence[1] -= 8  # eight tokens between two steps that are played, to keep the trace short
        running = [s for s in running if s[1] > 0]
        tape.work(0.02)


def varying_length(tape):
    """A 1.3 B model is fine-tuned (low-rank adapters) on batches of 8, padded to the longest sequence of the batch."""
    rng = random.Random(5)
    SMALL.load(tape)
    tape.alloc(8 * MIB)
    adapters = [16 * SMALL.h] * 4
    for step in range(30):
        longest = max(min(1536, int(math.exp(rng.gauss(5.2, 0.7)))) for _ in range(8))
        SMALL.step(tape, 8, max(16, longest), first=step == 0, trainable=adapters)
        SMALL.adamw(tape, adapters * SMALL.L, first=step == 0)


def tenants(tape):
    """Three models take turns on one device: each is loaded, serves, and is unloaded for the next."""
    rng = random.Random(6)
    for model, batch, limit in ((SMALL, 8, 1024), (TINY, 64, 512), (SEVEN, 2, 1024), (SMALL, 4, 2048), (SEVEN, 1, 2048)):
        weights = model.load(tape)
        held = tape.alloc(8 * MIB)
        for _ in range(20):
            b, s = rng.randint(1, batch), rng.randint(16, limit)
            model.sample(tape, model.forward(tape, b, s), b)
        tape.free(held, *weights)
        tape.work(1)


WORKLOADS = {w.__name__: w for w in (forward, training_step, checkpointed, growing_cache, mixed_batch, varying_length, tenants)}




# --- not in the table: programs so small that a page is much, on which nothing was chosen

def small_generation(tape, prompts):
    """A decoder of 8 layers, hidden size 512, fp32, generates for 8 sequences after each prompt, its caches grown by copying."""
    layers, h, words, batch = 8, 512, 8192, 8
    tape.alloc(4 * words * h), tape.alloc(4 * words * h)
    for _ in range(layers):
        for n in (3 * h * h, h * h, 4 * h * h, 4 * h * h, h, h, h, 3 * h, h, 4 * h):
            tape.alloc(4 * n)
    for prompt in prompts:
        cache = [None] * 2 * layers
        for held in range(prompt, prompt + 101):
            tokens = batch * (prompt if held == prompt else 1)
            x = tape.alloc(4 * tokens * h)
            for layer in range(layers):
                qkv = tape.alloc(4 * tokens * 3 * h)
                for i in (2 * layer, 2 * layer + 1):
                    grown = tape.alloc(4 * batch * held * h)
                    if cache[i]:
                        tape.free(cache[i])
                    cache[i] = grown
                scores, out = tape.alloc(4 * tokens * 8 * held), tape.alloc(4 * tokens * h)
                tape.free(qkv, scores)
                up, y = tape.alloc(4 * tokens * 4 * h), tape.alloc(4 * tokens * h)
                tape.free(up, out, x)
                x = y
            logits = tape.alloc(4 * tokens * words)
            tape.free(x, logits)
        tape.free(*cache)


OTHERS = {f"small_{last}": lambda tape, last=last: small_generation(tape, (100, 40, last)) for last in (200, 220, 250, 280, 300, 350)}


def play(name):
    tape = Tape()
    (WORKLOADS | OTHERS)[name](tape)
    return tape.events
