"""embedding_app.py: sentence embeddings by MiniLM on onnxruntime behind FastAPI. An ordinary program that knows nothing of
Coppice. Environment: MODEL (an ONNX file), TOKENIZER (its tokenizer.json). uvicorn runs it, with one worker or several.
"""
import os

import numpy as np
import onnxruntime
from fastapi import Body, FastAPI
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
app = FastAPI()


@app.get("/health")
def health():
    return {"ok": True}


@app.post("/embed")
def embed(body: dict = Body(...)):
    encoded = tokenizer.encode_batch(body["texts"])
    ids = np.array([e.ids for e in encoded], dtype=np.int64)
    mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
    vectors = session.run(None, {"ids": ids, "mask": mask})[0]
    return {"content": " ".join(f"{x:.4f}" for x in vectors[:, :4].ravel()), "embeddings": vectors.tolist()}
