"""exercise.py PLAN SNAPSHOT: a small decoder trained or used by PyTorch, its allocator's history recorded where it has one.

Plans: training (AdamW, batches padded to varying lengths), generation (a key-value cache that grows by concatenation).
Prints one line of JSON: what PyTorch itself counts, to compare a trace with. Kernels of the simulated device compute nothing: shapes
and lifetimes are what matters here."""
import json
import os
import random
import sys

import torch

LAYERS, HIDDEN, HEADS, WORDS = 8, 512, 8, 8192
CACHING = os.environ.get("PYTORCH_NO_CUDA_MEMORY_CACHING") != "1"


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.LayerNorm(HIDDEN), torch.nn.LayerNorm(HIDDEN)
        self.qkv, self.out = torch.nn.Linear(HIDDEN, 3 * HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = torch.nn.Linear(HIDDEN, 4 * HIDDEN), torch.nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x, cache=None):
        b, s, _ = x.shape
        q, k, v = self.qkv(self.first(x)).view(b, s, 3, HEADS, HIDDEN // HEADS).permute(2, 0, 3, 1, 4)
        if cache is not None:
            cache[:] = [k, v] if not cache else [torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)]
            k, v = cache
        scores = torch.softmax(q @ k.transpose(-1, -2) * (HIDDEN // HEADS) ** -0.5, -1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(b, s, HIDDEN))
        return x + self.down(torch.nn.functional.gelu(self.up(self.second(x))))


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = torch.nn.Linear(HIDDEN, WORDS)

    def forward(self, ids, caches=None):
        x = self.words(ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, caches[i] if caches else None)
        return self.head(x)


def training(model):
    rng = random.Random(3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(12):
        length = rng.randrange(64, 513)
        logits = model(torch.zeros(8, length, dtype=torch.long, device="cuda"))
        loss = torch.nn.functional.cross_entropy(logits.view(-1, WORDS), torch.zeros(8 * length, dtype=torch.long, device="cuda"))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        del logits, loss


def generation(model):
    with torch.no_grad():
        for prompt in (100, 40, 250):
            caches = [[] for _ in range(LAYERS)]
            model(torch.zeros(8, prompt, dtype=torch.long, device="cuda"), caches)
            for _ in range(100):
                logits = model(torch.zeros(8, 1, dtype=torch.long, device="cuda"), caches)
                torch.softmax(logits[:, -1].float(), -1).argmax(-1)


def main(plan, snapshot):
    if CACHING:
        torch.cuda.memory._record_memory_history(max_entries=10_000_000, context=None)
    model = Decoder().cuda()
    {"training": training, "generation": generation}[plan](model)
    torch.cuda.synchronize()
    facts = {}
    if CACHING:
        stats = torch.cuda.memory_stats()
        facts = {"allocs": stats["allocation.all.allocated"], "frees": stats["allocation.all.freed"], "live": stats["requested_bytes.all.current"],
                 "peak_live": stats["requested_bytes.all.peak"], "peak_reserved": stats["reserved_bytes.all.peak"],
                 "segments": stats["segment.all.allocated"], "segments_freed": stats["segment.all.freed"]}
        torch.cuda.memory._dump_snapshot(snapshot)
    print(json.dumps(facts), flush=True)


main(*sys.argv[1:])
