"""server.py: a FastAPI program that keeps the sampling parameters of each request while it is live, as servers do: KEEP=body as the dictionary that
came, KEEP=interned as a handle of coppice.intern_params. POST /requests takes a list of OpenAI-style bodies and answers how many are live;
GET /memory the process's private memory; GET /check/N the parameters of the Nth."""
import ctypes
import os
import sys

from fastapi import FastAPI, Request

KEEP = os.environ.get('KEEP', 'body')
if KEEP == 'interned':
    import weakref

    import coppice
    handles = weakref.WeakValueDictionary()

    def keep(body):
        handle = coppice.intern_params(body)
        return handles.setdefault(handle.address, handle) if handle.shared else handle

    def given(kept):
        return coppice.decode_params(kept)
else:
    def keep(body):
        return body

    def given(kept):
        return kept

app, live = FastAPI(), []


@app.post('/requests')
async def requests(request: Request):
    import json
    for body in json.loads(await request.body()):
        live.append(keep(body))
    return {'live': len(live)}


@app.get('/memory')
def memory():
    ctypes.CDLL(None).malloc_trim(0)
    with open('/proc/self/smaps_rollup') as rollup:
        return {'bytes': next(int(line.split()[1]) for line in rollup if line.startswith('Private_Dirty')) * 1024, 'python': sys.version_info[:2]}


@app.get('/check/{number}')
def check(number: int):
    return given(live[number])
