"""text_app.py: a PyTorch text server: GPT-2 by transformers, its weights read by torch.load, behind FastAPI. An ordinary program
that knows nothing of Coppice. Environment: MODEL (a file that `make_models.py` made); STATIC_CACHE=N gives each request a cache of N positions at once. uvicorn runs it, with several workers.
"""
import os
import threading
import zlib

import torch
from fastapi import Body, FastAPI
from transformers import GPT2Config, GPT2LMHeadModel, StaticCache

SHAPE = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 16384, "n_positions": 1024, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}
LONGEST = 900                        # tokens of a prompt that are kept


def build():
    return GPT2LMHeadModel(GPT2Config(**SHAPE))


def cache(model):
    """What a request's cache is made of, beside the usual one that grows."""
    positions = int(os.environ.get("STATIC_CACHE", "0"))
    return {"past_key_values": StaticCache(config=model.config, max_cache_len=positions)} if positions else {}


def serve():
    model = build()
    model.load_state_dict(torch.load(os.environ["MODEL"], map_location="cpu", weights_only=True))
    model.eval()
    at_once = threading.Semaphore(4)
    app = FastAPI()

    @app.get("/health")
    def health():
        return {"ok": True}

    @app.post("/generate")
    def generate(body: dict = Body(...)):
        tokens = torch.tensor([[3 + zlib.crc32(word.encode()) % 16000 for word in body["prompt"].split()][-LONGEST:]])
        count = int(body["tokens"])
        with at_once, torch.inference_mode():
            out = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, min_new_tokens=count,
                                 do_sample=False, use_cache=True, **cache(model))
        return {"content": " ".join(map(str, out[0, tokens.shape[1]:].tolist()))}
    return app


if os.environ.get("MODEL"):
    app = serve()
