"""servers.py: the servers whose host memory is compared, each as a command, an environment and what it is asked.

Beside the main job's llama.cpp server: `llama_fill` (the same with four slots, whose contexts are filled to a stated share),
`text` (PyTorch, four workers that each load the same weights), `embed1` and `embed4` (onnxruntime, one and four workers), and
`redis` (fill, delete half, refill with larger values: what no size-class allocator likes).
A server here is asked by two passes: the *sequential* one, whose answers are compared, and the *load*.
"""
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

from mainjob import cache, client, plan, servers

HERE = Path(__file__).resolve().parent
PACKAGES = (HERE / "packages.txt").read_text().split()


def site():
    """The folder with the Python servers' packages, for PYTHONPATH."""
    return cache.pip_target(f"evalhost-{sys.version_info.major}.{sys.version_info.minor}", PACKAGES)


def model(kind):
    """The folder with the files of one model."""
    def fill(work):
        env = dict(os.environ, PYTHONPATH=f"{site()}:{HERE / 'apps'}")
        done = subprocess.run([sys.executable, HERE / "apps" / "make_models.py", kind, work], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise cache.Missing(f"the {kind} model could not be made:\n{done.stdout[-2000:]}")
    return cache.filled(cache.root() / "models" / f"evalhost-{kind}", f"{kind} 1", fill)


class Llama(servers.CpuServer):
    """The main job's server and requests."""
    name, own_allocator, workers, ask_for_load = "llama", False, 1, {"stream": True}


class Fill(servers.CpuServer):
    """Four slots of 2048 tokens; every slot is filled to `share` of its context, once, all at the same time."""
    own_allocator, workers, slots, context = False, 1, 4, 2048
    in_flight = 4

    def __init__(self, share, short=False):
        super().__init__(short=True)
        self.name, self.title = f"llama_fill{share}", f"llama.cpp server, contexts {share} % full"
        rnd = random.Random(plan.SEED)
        words = max(8, int(self.context * share / 100 * 0.75))      # a word of the sentences is about 1.2 tokens
        self.sequential = plan.one_by_one(2, 8)
        self.load = [plan.Ask(plan.prose(rnd, words), 8, self.context) for _ in range(self.slots)]

    def environment(self, run_name):
        return {**super().environment(run_name), "SLOTS": str(self.slots), "CONTEXT": str(self.slots * self.context)}


class Python(servers.HttpServer):
    """A FastAPI program under uvicorn."""
    own_allocator, has_device, text_means_something, in_flight, start_s = False, False, True, 8, 400

    def argv(self, port):
        return [os.path.realpath(sys.executable), "-m", "uvicorn", self.app, "--app-dir", str(HERE / "apps"), "--host", "127.0.0.1", "--port", str(port), "--workers", str(self.workers),
                "--no-access-log", "--log-level", "warning"]

    def environment(self, run_name):
        # bytecode is written and kept: else each start compiles all of PyTorch again
        return {"PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "", "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", **self.files}


class Text(Python):
    name, title, path, app, workers = "text", "GPT-2 on PyTorch, 4 workers", "/generate", "text_app:app", 4

    def __init__(self, short=False):
        self.site, self.files = site(), {"MODEL": str(model("text") / "text.pt")}
        self.sequential = plan.one_by_one(4, 8)
        self.load = plan.load(8 if short else 64, 8, 800, 32)
        self.about = "transformers' GPT-2 (98 M, fp32, random weights) under uvicorn, torch.load in each worker"

    def body(self, ask):
        return {"prompt": ask.prompt, "tokens": ask.tokens}


class Embedding(Python):
    path, app = "/embed", "embedding_app:app"

    def __init__(self, workers, short=False):
        self.workers, self.name = workers, f"embed{workers}"
        self.title = f"MiniLM on onnxruntime, {workers} worker{'s' if workers > 1 else ''}"
        self.site, folder = site(), model("embedding")
        self.files = {"MODEL": str(folder / "embedding.onnx"), "TOKENIZER": str(folder / "tokenizer.json")}
        self.sequential = plan.one_by_one(8, 4)
        self.load = plan.load(24 if short else 240, 4, 1600, 16)
        self.about = "sentence embeddings under uvicorn; one request embeds the chunks of one document"

    def body(self, ask):
        words, chunks = ask.prompt.split(), max(1, min(16, ask.tokens))
        step = max(8, -(-len(words) // chunks))
        return {"texts": [" ".join(words[i:i + step]) for i in range(0, len(words), step)][:16]}


class Redis:
    """Three rounds of: fill, delete a random half, refill with larger values."""
    name, title, about = "redis", "redis, churn", "fill, delete half, refill with larger values, three times"
    own_allocator, workers, has_device, text_means_something, start_s = True, 1, False, False, 60
    BATCH = 256

    def __init__(self, short=False):
        self.keys = 60000 if short else 1200000
        self.sequential = []

    def argv(self, port):
        return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def environment(self, run_name):
        return {}

    def is_up(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def send_load(self, port, step):
        rnd = random.Random(plan.SEED)
        blob = rnd.randbytes(1 << 17)
        sizes = [max(16, context // 8) for context, _ in plan.rows_of_trace(512)]
        live, number, answers = [], 0, []
        with socket.create_connection(("127.0.0.1", port)) as link, link.makefile("rb") as replies:
            for larger in (1, 2.5, 6):
                for _ in range(int(self.keys / larger) // self.BATCH):
                    sets = []
                    for _ in range(self.BATCH):
                        size = int(rnd.choice(sizes) * larger)
                        at = rnd.randrange(0, len(blob) - size)
                        sets.append((b"SET", b"k%d" % number, blob[at:at + size]))
                        live.append(number)
                        number += 1
                    answers.append(self._pipe(link, replies, sets))
                    step()
                rnd.shuffle(live)
                cut, live = live[:len(live) // 2], live[len(live) // 2:]
                for i in range(0, len(cut), self.BATCH):
                    answers.append(self._pipe(link, replies, [(b"DEL", b"k%d" % key) for key in cut[i:i + self.BATCH]]))
        return answers

    @staticmethod
    def _pipe(link, replies, commands):
        link.sendall(b"".join(b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in c) for c in commands))
        bad = [line for line in (replies.readline() for _ in commands) if line[:1] not in (b"+", b":")]
        return client.Answer("ok", None) if not bad else client.Answer(None, repr(bad[0]))


KINDS = {"llama": Llama, "text": Text, "embed1": lambda short: Embedding(1, short), "embed4": lambda short: Embedding(4, short),
         "redis": Redis, **{f"llama_fill{share}": (lambda short, share=share: Fill(share, short)) for share in (5, 25, 75, 100)}}
