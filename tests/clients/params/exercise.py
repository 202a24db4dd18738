"""exercise.py CLASS: makes COUNT sampling parameters of a real engine, as requests of the stream would, and holds them. Prints a line of JSON: what an object
costs, and a digest of all of them, which must be the same without and with coppice_params."""
import ctypes
import hashlib
import importlib
import json
import random
import sys

COUNT, SETS, SEED = 20000, 1200, 7
STOPS = ['\n\n', '</s>', '<|im_end|>', '<|eot_id|>', 'Observation:', '### Human:', '\nUser:']


def body(number):
    """The `number`th set, as JSON text: a server parses it anew for each request, so nothing is shared to begin with."""
    r = random.Random(number)
    made = {'temperature': r.choice([0.7, 0.2, 0.8, 1.0, 0.0]), 'top_p': r.choice([0.95, 0.9, 1.0]), 'max_tokens': 300 + number,
            'stop': r.sample(STOPS, r.randint(0, 4))}
    if r.random() < 0.3:
        made |= {'repetition_penalty': 1.1, 'presence_penalty': 0.5}
    if r.random() < 0.1:
        made['logit_bias'] = {str(r.randrange(300, 30000)): -50.5 for _ in range(20)}
    return json.dumps(made)


def stream():
    """COUNT sets; the popularity of the nth is 1/n."""
    r = random.Random(SEED)
    bodies = [body(n) for n in range(SETS)]
    return r.choices(bodies, weights=[1 / (n + 1) for n in range(SETS)], k=COUNT)


def resident():
    ctypes.CDLL(None).malloc_trim(0)
    with open('/proc/self/smaps_rollup') as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith('Private_Dirty')) * 1024


def main():
    module, name = sys.argv[1].rsplit('.', 1)
    kind = getattr(importlib.import_module(module), name)
    bodies = stream()
    make = lambda text: (lambda d: kind(**{**d, 'logit_bias': {int(k): v for k, v in d['logit_bias'].items()} if 'logit_bias' in d else None}))(json.loads(text))
    held = [make(bodies[0])]
    before = resident()
    held += [make(text) for text in bodies[1:]]
    after = resident()
    digest = hashlib.sha256('\n'.join(map(repr, held)).encode())
    clone = held[5].clone()
    clone.stop.append('changed')
    assert clone != held[5] and 'changed' not in held[5].stop
    handles = {id(p.__dict__.get('coppice')) for p in held} if 'coppice_params' in sys.modules else set()
    print(json.dumps({'bytes': round((after - before) / COUNT), 'digest': digest.hexdigest()[:16], 'handles': len(handles)}), flush=True)


main()
