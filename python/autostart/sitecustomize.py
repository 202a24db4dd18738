"""sitecustomize: Python imports a module of this name at its start. `coppice run --intern-params` puts this one first; it switches coppice_params
on and then lets the one that would have been imported without us have its turn."""
import importlib.util
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [p for p in sys.path if os.path.abspath(p or '.') != _here]
try:
    import coppice_params
    coppice_params.install()
except Exception:
    pass
sys.modules.pop('sitecustomize', None)
_next = importlib.util.find_spec('sitecustomize')
if _next is not None and _next.loader is not None:
    _module = importlib.util.module_from_spec(_next)
    sys.modules['sitecustomize'] = _module
    _next.loader.exec_module(_module)
else:
    sys.modules['sitecustomize'] = sys.modules.get('coppice_params') or sys.modules['sys']
