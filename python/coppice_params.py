"""coppice_params: sampling parameters of vLLM and Aphrodite, interned when they are made. Off unless the process was started by
`coppice run --intern-params` (which puts python/autostart before other sitecustomize modules), or a program calls install().

Every SamplingParams is checked by its own _verify_args at the end of its construction; after that
  - its settings are interned (coppice.intern_params): `params.__dict__['coppice']` is the handle, equal settings have one and the same,
    and `coppice stat` counts them;
  - its *leaves*, the strings and numbers in its fields, lists and dictionaries, become the first equal ones that were seen. They cannot be changed, so
    nobody can tell; lists and dictionaries stay each object's own.
Whatever goes wrong here leaves the object as it was: a server must not fail for this."""
import importlib.abc
import importlib.machinery
import sys
import weakref

import coppice

CLASSES = {'vllm.sampling_params': 'SamplingParams', 'aphrodite.sampling_params': 'SamplingParams'}
LEAVES_MOST = 65536
_leaves = {}
_handles = weakref.WeakValueDictionary()


def _leaf(value):
    """The first object that is this very value: equal, of one type, and no zero (whose sign equality does not see)."""
    kind = type(value)
    if kind is str and len(value) > 1 or kind is float and value == value and value != 0 or kind is int and not -6 < value < 257:
        if len(_leaves) >= LEAVES_MOST:
            _leaves.clear()
        return _leaves.setdefault((kind, value), value)
    return value


def _share(value):
    """`value` with its leaves shared; lists and dictionaries are changed in place."""
    kind = type(value)
    if kind is list:
        value[:] = map(_share, value)
    elif kind is dict:
        items = [(_leaf(k), _share(v)) for k, v in value.items()]
        value.clear()
        value.update(items)
    else:
        return _leaf(value)
    return value


def _is_plain(value):
    kind = type(value)
    if kind in (list, tuple):
        return all(map(_is_plain, value))
    return kind in (bool, int, float, str) or kind is dict and all(_is_plain(v) for v in value.values())


def settings_of(params):
    """The fields that differ from the class's defaults and that an encoding can hold."""
    kind = type(params)
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    standard = dict(zip(names[len(names) - len(defaults):], defaults))
    found = {}
    for name in names:
        value = getattr(params, name)
        if not name.startswith('_') and value is not None and value != [] and _is_plain(value) and not (type(value) is type(standard.get(name)) and value == standard[name]):
            found[name] = value
    return found


def intern(params):
    """Interns one set of parameters; returns its handle, None when it could not."""
    try:
        for name in type(params).__struct_fields__:
            value = getattr(params, name)
            shared = _share(value)
            if shared is not value:
                setattr(params, name, shared)
        handle = coppice.intern_params(settings_of(params))
        if handle.shared:
            handle = _handles.setdefault(handle.address, handle)
        params.__dict__['coppice'] = handle
        return handle
    except Exception:
        return None


def patch(module, name):
    """Makes the class intern its objects; nothing when it is not of the form that is known."""
    kind = getattr(module, name, None)
    verify = getattr(kind, '_verify_args', None)
    if verify is None or not hasattr(kind, '__struct_fields__') or hasattr(verify, 'coppice'):
        return False

    def _verify_args(self):
        verify(self)
        intern(self)
    _verify_args.coppice = True
    kind._verify_args = _verify_args
    return True


class _Loader(importlib.abc.Loader):
    """The module's own loader, and the patch after it."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        patch(module, CLASSES[module.__name__])

    def __getattr__(self, name):
        return getattr(self.loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in CLASSES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader)
        return spec


def install():
    """From now on; modules that are loaded already are patched at once. False: libcoppice.so is not in this process."""
    if not coppice.available():
        return False
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, kind in CLASSES.items():
        if name in sys.modules:
            patch(sys.modules[name], kind)
    return True
