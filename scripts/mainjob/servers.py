"""servers.py: the two servers of the main job, each as a command, an environment and the shape of its requests.

A server here says how it is started and what it is asked (.sequential and .load; a handful of requests when short);
service.py starts it, trial.py drives it.
"""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import make_gguf  # noqa: E402

from . import cache, client, plan
from .device import Device

HERE = Path(__file__).resolve().parent


class HttpServer:
    """One that answers GET `ready` with 200 when it is up, at most start_s seconds after its start, and POST `path` with the text of an answer."""
    ready, start_s = "/health", 120

    def is_up(self, port):
        return client.get(port, self.ready) == 200


class CpuServer(HttpServer):
    """llama.cpp's own HTTP server on the CPU with a real model: its text can be read and compared."""
    name, title = "llama_cpu", "llama.cpp server, CPU"
    path = "/completion"
    in_flight = 16
    has_device = False
    text_means_something = True

    def __init__(self, short=False):
        self.sequential = plan.one_by_one(4, 16) if short else plan.one_by_one(16, 24)
        self.load = plan.load(8, 24, 60, 8) if short else plan.load(48, 10, 160, 24)
        self.site, self.model = cache.python_site(), cache.real_model()
        self.about = f"xllamacpp's HTTP server, model {self.model.name}, 16 slots, temperature 0"

    def argv(self, port):
        return [os.path.realpath(sys.executable), str(HERE / "cpu_server.py")]

    def environment(self, run_name):
        return {"PYTHONPATH": str(self.site), "MODEL": str(self.model), "OMP_WAIT_POLICY": "PASSIVE"}

    def body(self, ask):
        return {"prompt": ask.prompt, "n_predict": ask.tokens, "temperature": 0}

    def kv_bytes(self):
        """The key/value cache of all slots: a key and a value of 256 16-bit numbers for each layer and position; three of gemma-3's
        18 layers look at the whole of a slot's 2048 positions, the others at 512 and as many more as one batch has. None: another model."""
        return None if os.environ.get("MODEL") else 16 * 2 * 256 * 2 * (3 * 2048 + 15 * (512 + 512))


class CudaServer(HttpServer):
    """node-llama-cpp's CUDA backend behind the small HTTP front of cuda_server.mjs, with random weights."""
    name, title = "llama_cuda", "llama.cpp server, CUDA"
    path = "/generate"
    in_flight = 4
    has_device = True

    def __init__(self, short=False):
        self.sequential = plan.one_by_one(4 if short else 12, 4)
        self.load = plan.load(20 if short else 240, 16, 40, 4)
        self.reload_every = 8 if short else 40
        self.device = Device()
        why = self.device.missing()
        if why:
            raise cache.Missing(why)
        self.node, self.packages, self.model = cache.node(), cache.node_llama(), cache.random_model()
        self.text_means_something = not self.device.simulated
        self.about = f"node-llama-cpp {cache.NODE_LLAMA}, random weights; {self.device.about}"

    def argv(self, port):
        return [str(self.node), str(HERE / "cuda_server.mjs")]

    def environment(self, run_name):
        return {**self.device.environment(run_name), "MODEL": str(self.model), "PACKAGES": str(self.packages),
                "RELOAD_EVERY": str(self.reload_every)}

    def body(self, ask):
        return {"prompt": ask.prompt, "tokens": ask.tokens, "context": ask.context}

    def kv_bytes(self, ask):
        """The key/value cache of this request's context: a key and a value of 16-bit numbers, as wide as the embedding, for each
        layer and position."""
        return 2 * make_gguf.LAYERS * make_gguf.EMBED * 2 * ask.context
