"""plan.py: which requests a server is sent.

The token counts come from data/azure_slice.csv, a slice of a production trace, divided by a constant and capped so that a
small model on two cores can serve them. The trace has no text, so prompts are made of the sentences below, in an order
drawn with a fixed seed: every run of a server is sent the same requests in the same order. Arrival times are not used:
a fixed number of requests is always in flight, so the figures do not depend on how busy the machine is.
"""
import csv
import random
from pathlib import Path
from typing import NamedTuple

SLICE = Path(__file__).resolve().parents[2] / "data" / "azure_slice.csv"
SEED = 1201                          # any number; fixed, so that runs compare
CONTEXTS = (512, 1024, 2048, 4096, 8192)

QUESTIONS = (
    "A coppiced tree is a tree that",
    "The difference between a stack and a heap is",
    "Water boils at a lower temperature on a mountain because",
    "The three laws of motion are",
    "To make bread you need flour, water, salt and",
    "The capital of France is Paris. The capital of Italy is",
    "In computing, a cache is",
    "The seasons change because the Earth",
    "A good night's sleep helps the brain to",
    "Once upon a time there was an old woodcutter who",
    "The most important thing about a bridge is",
    "Two plus two is four. Four plus four is",
    "Honey bees make honey by",
    "The sea is salty because",
    "When memory runs out, an operating system",
    "The first step in writing a program is",
)

SENTENCES = (
    "The wood was cut in winter, when the sap was low.", "From every stump a dozen young shoots grew back.",
    "A forester walks the same path each year and counts what stands.", "Oak is slow, hazel is quick, and willow loves water.",
    "The computer keeps what it used last close at hand.", "When the desk is full, something must go back to the shelf.",
    "She asked the machine a question and waited for the answer.", "The answer came one word at a time.",
    "Many people ask the same thing in different words.", "The old bridge carried carts for three hundred years.",
    "Rain fell on the hills and the river rose by a metre.", "In the market they sold apples, honey and thick wool.",
    "A letter that never arrives is worse than a letter that says no.", "The teacher wrote a long sum on the board.",
    "Nobody could say how many leaves a tree has.", "They measured twice and cut once.",
    "The train was late, so we read the paper again.", "He had a garden with beans, peas and a small pond.",
    "It is hard to know when to stop adding salt.", "The ship left the harbour before the fog came down.",
)


class Ask(NamedTuple):
    """One request: a prompt, how many tokens to generate, and the length of the context it is given (CUDA server)."""
    prompt: str
    tokens: int
    context: int


def rows_of_trace(count):
    with open(SLICE, newline="") as file:
        rows = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    return [rows[i % len(rows)] for i in range(count)]


def prose(rnd, words):
    out = []
    while len(out) < words:
        out += rnd.choice(SENTENCES).split()
    return " ".join(out[:words])


def one_by_one(count, tokens):
    """Requests for the sequential pass: short questions whose answers can be read."""
    return [Ask(QUESTIONS[i % len(QUESTIONS)], tokens, CONTEXTS[i % 3]) for i in range(count)]


def load(count, scale, most_prompt, most_tokens):
    """Requests for the load pass: row by row from the trace, token counts divided by `scale` and capped."""
    rnd = random.Random(SEED)
    asks = []
    for context, generated in rows_of_trace(count):
        room = next((c for c in CONTEXTS if c >= context + generated), CONTEXTS[-1])
        words = max(4, min(most_prompt, context // scale))
        asks.append(Ask(prose(rnd, words), max(2, min(most_tokens, generated // scale)), room))
    return asks
