"""engine.py: whole serving engines, unmodified, on the simulated device, without and with Coppice.

An *engine* is vLLM or Aphrodite, in one pinned environment (engines.txt, 4.5 GB, no nvidia package) beside the stand-ins of
simulated.py. It serves a model with random weights that is made here, and is *driven* over HTTP: 64 completions at once, a
streamed one, and sleep and wake where the configuration has them. The *facts* of a run are status codes, token counts and
whether the stream came to its end; texts mean nothing, because simulated kernels do not compute, and are facts only where all
memory reads as zero (uncached). Facts must be equal in both runs, no
log line may say ERROR, and with Coppice some process of the engine must have counted device allocations.

A start takes a minute, so these are among the tests that run only when they are named (`make clients`)."""
import concurrent.futures, json, os, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

import simulated
from simulated import REPO

REQUESTS, TOKENS, START_S = 64, 32, 240
SERVE = ("--load-format dummy --dtype float16 --max-model-len 256 --max-num-seqs 8 --max-num-batched-tokens 256 "
         "--gpu-memory-utilization 0.8 --disable-custom-all-reduce --attention-backend TRITON_ATTN").split()
CONFIGURATIONS = {  # name: (environment, arguments)
    "eager": ({}, ["--enforce-eager"]),
    # without PyTorch's caching every tensor is new memory, which reads as zero; so does ours with ZERO: then texts are equal too
    "uncached": ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "COPPICE_ZERO": "1"}, ["--enforce-eager"]),
    # one pool for every library of the process, where PyTorch keeps none of its own
    "page": ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "COPPICE_DEVICE_BACKEND": "page"}, ["--enforce-eager"]),
    "sleep": ({}, ["--enforce-eager", "--enable-sleep-mode"]),
    "graphs": ({}, []),  # compiled, and replayed from CUDA graphs
}


def make_model(folder, site):
    """A four-layer Llama configuration and a byte-level tokenizer; the engine makes up the weights."""
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    program = ("import sys; from tokenizers import Tokenizer, models, pre_tokenizers as p, decoders, trainers\n"
               "t = Tokenizer(models.BPE()); t.pre_tokenizer = p.ByteLevel(add_prefix_space=False); t.decoder = decoders.ByteLevel()\n"
               "t.train_from_iterator(['the of and to in is that it for was on are as with'] * 2, trainers.BpeTrainer(vocab_size=400,"
               " special_tokens=['<s>', '</s>'], initial_alphabet=p.ByteLevel.alphabet(), show_progress=False)); t.save(sys.argv[1])")
    subprocess.run([sys.executable, "-c", program, folder / "tokenizer.json"], check=True, env={**os.environ, "PYTHONPATH": str(site)})
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>",
                                                              "eos_token": "</s>", "model_max_length": 256}))
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 512,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float16",
        "hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 10000.0}))


class Server:
    def __init__(self, client, configuration, with_coppice):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = client.build / f"{configuration}-{'with' if with_coppice else 'without'}.log"
        command = [sys.executable, "-c", f"from {client.name}.entrypoints.cli.main import main; main()", "serve", str(client.model),
                   "--host", "127.0.0.1", "--port", str(self.port), *SERVE, *CONFIGURATIONS[configuration][1]]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, env=client.environment(configuration, with_coppice), cwd=client.build,
                                            stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def ask(self, path, body=None, method=None):
        """(status, bytes)"""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def wait(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.ask("/health")[0] == 200:
                    return
            except OSError:
                time.sleep(1)
        raise RuntimeError(f"did not start; see {self.log.relative_to(REPO)}")

    def members(self):
        """The processes of the server's session."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def complete(server, model, words):
    """(status, tokens, text)"""
    status, text = server.ask("/v1/completions", {"model": model, "prompt": "the of and " * words, "max_tokens": TOKENS,
                                                  "temperature": 0, "ignore_eos": True})
    if status != 200:
        return status, 0, ""
    answer = json.loads(text)
    return status, answer["usage"]["completion_tokens"], answer["choices"][0]["text"]


def drive(server, model, configuration):
    """The facts of one run."""
    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        answers = list(pool.map(lambda i: complete(server, model, 1 + i % 8), range(REQUESTS)))
    status, stream = server.ask("/v1/completions", {"model": model, "prompt": "the of", "max_tokens": 16, "stream": True, "ignore_eos": True})
    facts = {"answers": sorted({a[:2] for a in answers}), "count": len(answers), "stream": [status, b"[DONE]" in stream]}
    if configuration == "sleep":
        facts["sleep"] = server.ask("/sleep?level=1", method="POST")[0]
        facts["wake"] = server.ask("/wake_up", method="POST")[0]
        facts["after waking"] = complete(server, model, 3)[:2]
    if configuration == "uncached":
        facts["texts"] = [text for _, _, text in answers]
    return facts


def allocations(server):
    """What Coppice counted in the engine's processes, read while they live."""
    most = 0
    for pid in server.members():
        shown = subprocess.run([REPO / "build/coppice", "stat", str(pid), "--json"], capture_output=True, text=True)
        try:
            most = max(most, sum(d["allocs"] for d in json.loads(shown.stdout)["device"]))
        except (ValueError, KeyError, TypeError):
            continue
    return most


def unanswered(facts):
    """What a healthy server would have answered otherwise."""
    good = (facts["answers"] == [(200, TOKENS)] and facts["count"] == REQUESTS and facts["stream"] == [200, True]
            and facts.get("sleep", 200) == facts.get("wake", 200) == 200 and facts.get("after waking", (200, TOKENS)) == (200, TOKENS))
    return "" if good else f"not every request was answered: {facts}"


class Engine(simulated.Client):
    def __init__(self, folder, prefix):
        packages = tuple(line for line in (REPO / "tests/clients/engines.txt").read_text().split("\n") if line and line[0] != "#")
        super().__init__(folder, ("engines==1", *packages), 8 << 30, ("torch/lib/*.so", "torch/*.so", f"{folder.name}/*.so", "torchvision/*.so"), CONFIGURATIONS)
        self.prefix = prefix

    def prepare(self, plain_only):
        super().prepare(plain_only)
        self.model = self.build / "model"
        make_model(self.model, self.site)

    def wanted(self):
        return self.packages[1:]

    def environment(self, configuration, with_coppice):
        env = super().environment(configuration, with_coppice)
        env |= {f"{self.prefix}_USE_FLASHINFER_SAMPLER": "0", f"{self.prefix}_USE_V2_MODEL_RUNNER": "0", f"{self.prefix}_NO_USAGE_STATS": "1",
                f"{self.prefix}_SERVER_DEV_MODE": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "HOME": str(self.build / "home"),
                # a count that PyTorch reads back from a kernel must be a count: nothing was found
                "SIM_ZERO": "DeviceReduceSingleTileKernel:1:4"}
        (self.build / "home").mkdir(exist_ok=True)
        return env

    def one_run(self, configuration, with_coppice):
        server = Server(self, configuration, with_coppice)
        try:
            server.wait()
            facts = drive(server, str(self.model), configuration)
            counted = allocations(server) if with_coppice else 0
            # before stopping: an engine that is told to stop may complain about its own halves
            errors = [line for line in server.log.read_text(errors="replace").splitlines() if "ERROR" in line]
        finally:
            server.stop()
        return facts, counted, errors

    def compare(self, configuration, plain_only):
        try:
            facts, _, errors = self.one_run(configuration, False)
            if plain_only or errors or unanswered(facts):
                return errors[0] if errors else unanswered(facts)
            with_facts, counted, with_errors = self.one_run(configuration, True)
        except (RuntimeError, OSError) as why:
            return str(why)
        if facts != with_facts:
            return f"{facts} became {with_facts}"
        return with_errors[0] if with_errors else "" if counted else "the statistics count no device allocation"
