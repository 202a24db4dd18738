"""cpu_server.py: starts llama.cpp's own HTTP server as xllamacpp ships it, unmodified, and waits for SIGTERM.

Environment: MODEL (a GGUF file), PORT, and SLOTS (16) that share CONTEXT (32768) tokens; a request asks for temperature 0 itself.
"""
import os
import signal
import sys

import xllamacpp


def main():
    params = xllamacpp.CommonParams()
    params.model.path = os.environ["MODEL"]
    params.port = int(os.environ["PORT"])
    params.n_parallel = int(os.environ.get("SLOTS", 16))
    params.n_ctx = int(os.environ.get("CONTEXT", 32768))
    params.cpuparams.n_threads = min(2, os.cpu_count() or 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = xllamacpp.Server(params)
    print("listening on", server.listening_address, flush=True)
    while True:
        signal.pause()               # also woken by other signals


if __name__ == "__main__":
    main()
