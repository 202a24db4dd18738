"""coppice: equal contents held once, sampling parameters as few bytes, and memory types, from Python. No compiler is needed.

Works in a process that libcoppice.so is preloaded into (`coppice run -- python3 …`); elsewhere every call but available() raises
NotLoaded and says so. An *interned* content lies once in memory that nobody can write; a handle of it is an Interned:

    a = coppice.intern(b'some bytes')
    b = coppice.intern_params({'temperature': 0.7, 'stop': ['\\n']})
    a.view, bytes(a), len(a), a.address, a.shared; coppice.decode_params(b) == {'temperature': 0.7, 'stop': ['\\n']}

Where the library declines (switched off, full, above 1 MiB) a handle has a copy of its own, and `shared` is False.

A *type* says how memory lives (docs/TYPES.md): 'episodic', 'procedural', 'semantic', 'emotional', or 'untyped'.

    with coppice.memory_type('semantic'):    # this thread, and what it calls; also around cudaMalloc
        weights = load()
    buffer = coppice.alloc(1 << 20, 'procedural')  # a writable memoryview, freed with its last view"""
import contextlib
import ctypes
import json
import os
import weakref

__all__ = ['NotLoaded', 'Interned', 'available', 'version', 'intern', 'encode_params', 'decode_params', 'intern_params', 'PARAMS_TAG',
           'TYPES', 'memory_type', 'alloc']

TYPES = ('untyped', 'episodic', 'procedural', 'semantic', 'emotional')

PARAMS_TAG = 0x50415201
_REAL, _INT, _FLAG, _STRINGS, _IDS, _BIAS, _PAIRS = range(7)
_EXTRA = 'extra'  # whatever the table of fields has no place for, as JSON
_P, _SIZE, _I64, _REALS = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_double
_POINTER = ctypes.POINTER
_FUNCTIONS = {  # name: result, arguments
    'coppice_version': (ctypes.c_char_p, []),
    'coppice_intern': (_P, [ctypes.c_char_p, _SIZE, ctypes.c_uint32]),
    'coppice_release': (None, [_P]),
    'coppice_alloc': (_P, [_SIZE, ctypes.c_int]),
    'coppice_type_push': (None, [ctypes.c_int]),
    'coppice_type_pop': (None, []),
    'coppice_params_new': (_P, []),
    'coppice_params_free': (None, [_P]),
    'coppice_params_name': (ctypes.c_char_p, [ctypes.c_int]),
    'coppice_params_kind': (ctypes.c_int, [ctypes.c_int]),
    'coppice_params_set_real': (ctypes.c_int, [_P, ctypes.c_int, _REALS]),
    'coppice_params_set_int': (ctypes.c_int, [_P, ctypes.c_int, _I64]),
    'coppice_params_add_string': (ctypes.c_int, [_P, ctypes.c_int, ctypes.c_char_p, _SIZE]),
    'coppice_params_add_id': (ctypes.c_int, [_P, ctypes.c_int, _I64]),
    'coppice_params_add_bias': (ctypes.c_int, [_P, ctypes.c_int, _I64, _REALS]),
    'coppice_params_add_pair': (ctypes.c_int, [_P, ctypes.c_int, ctypes.c_char_p, _SIZE, ctypes.c_char_p, _SIZE]),
    'coppice_params_count': (_SIZE, [_P, ctypes.c_int]),
    'coppice_params_real': (ctypes.c_int, [_P, ctypes.c_int, _SIZE, _POINTER(_I64), _POINTER(_REALS)]),
    'coppice_params_int': (ctypes.c_int, [_P, ctypes.c_int, _SIZE, _POINTER(_I64)]),
    'coppice_params_bytes': (ctypes.c_int, [_P, ctypes.c_int, _SIZE] + [_POINTER(_P), _POINTER(_SIZE)] * 2),
    'coppice_params_encode': (_SIZE, [_P, ctypes.c_char_p, _SIZE]),
    'coppice_params_decode': (ctypes.c_int, [_P, ctypes.c_char_p, _SIZE]),
}


class NotLoaded(RuntimeError):
    """libcoppice.so is not in this process."""


class _Library:
    """The functions that the process has; found at the first use."""

    def __getattr__(self, name):
        process = ctypes.CDLL(None)
        try:
            found = {n: getattr(process, n) for n in _FUNCTIONS}
        except AttributeError:
            raise NotLoaded('libcoppice.so is not loaded into this process; start it with `coppice run -- …` '
                            'or with LD_PRELOAD=/path/to/libcoppice.so') from None
        for n, (result, arguments) in _FUNCTIONS.items():
            found[n].restype, found[n].argtypes = result, arguments
            setattr(self, n[len('coppice_'):], found[n])
        self.free = process.free
        self.free.restype, self.free.argtypes = None, [_P]
        names = ((field, self.params_name(field)) for field in range(1, 256))
        self.fields = {field: (n.decode(), self.params_kind(field)) for field, n in names if n}
        self.numbers = {n: (field, kind) for field, (n, kind) in self.fields.items()}
        return self.__dict__[name]


_library = _Library()


def available():
    """Is the library in this process?"""
    try:
        return bool(_library.version)
    except NotLoaded:
        return False


def version():
    return _library.version().decode()


class Interned:
    """One content. Keeps it in memory for as long as the handle or a view of it lives. Equal handles have equal bytes and tag."""
    __slots__ = ('address', 'tag', '_length', '_own', '_release', '__weakref__')

    def __init__(self, data, tag=0):
        self.address = 0
        data = bytes(data)
        self.tag, self._length, self._own, self._release = tag, len(data), None, _library.release
        self.address = _library.intern(data, len(data), tag) or 0
        if not self.address:
            self._own = data

    @property
    def shared(self):
        """Is it held by the library? Then equal contents have equal addresses."""
        return self.address != 0

    @property
    def view(self):
        """The bytes where they are, not copied; read-only. The handle lives as long as the view."""
        if not self.address:
            return memoryview(self._own)
        array = (ctypes.c_ubyte * self._length).from_address(self.address)
        array._handle = self
        return memoryview(array).toreadonly().cast('B')

    def __bytes__(self):
        return ctypes.string_at(self.address, self._length) if self.address else self._own

    def __len__(self):
        return self._length

    def __eq__(self, other):
        if not isinstance(other, Interned):
            return NotImplemented
        if self.address and other.address:
            return self.address == other.address
        return self.tag == other.tag and bytes(self) == bytes(other)

    def __hash__(self):
        return hash((self.tag, bytes(self)))

    def __reduce__(self):
        return Interned, (bytes(self), self.tag)

    def __repr__(self):
        return f'<Interned {self._length} bytes, tag {self.tag:#x}, {"shared" if self.address else "own copy"}>'

    def __del__(self):
        if getattr(self, 'address', 0):
            self._release(self.address)


def intern(data, tag=0):
    """A handle of the one content with these bytes (anything that bytes() takes) and this tag (0 … 2**32 - 1)."""
    return Interned(data, tag)


# --- memory types

def _type(name):
    if name not in TYPES:
        raise ValueError(f'{name!r} is not a type; accepted are {", ".join(TYPES)}')
    return TYPES.index(name)


def memory_type(name):
    """A context manager: what this thread allocates inside is of this type."""
    return _memory_type(name, _type(name))


@contextlib.contextmanager
def _memory_type(name, number):
    _library.type_push(number)
    try:
        yield name
    finally:
        _library.type_pop()


def alloc(size, name):
    """`size` bytes of this type as a writable memoryview; they live as long as a view of them."""
    number = _type(name)
    if size < 0:
        raise ValueError('size must not be negative')
    address = _library.alloc(size, number)
    if not address:
        raise MemoryError
    array = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(array, _library.free, address).atexit = False
    return memoryview(array).cast('B')


# --- sampling parameters

class _Params:
    def __enter__(self):
        self.set = _library.params_new()
        if not self.set:
            raise MemoryError
        return self.set

    def __exit__(self, *_):
        _library.params_free(self.set)


def _is_int(value):
    return isinstance(value, int) and -2 ** 63 <= value < 2 ** 63


def _text(value):
    return value.encode('utf-8', 'surrogatepass')


def _calls(kind, value):
    """The calls that set this value, (name, arguments…); None: it is not of the kind."""
    if kind == _REAL and isinstance(value, (int, float)) and abs(value) < 1e308:
        return [('set_real', float(value))]
    if kind in (_INT, _FLAG) and _is_int(value) and (kind == _INT or value in (0, 1)):
        return [('set_int', int(value))]
    if kind == _STRINGS and isinstance(value, str):
        value = [value]
    if kind == _STRINGS and isinstance(value, (list, tuple)) and all(isinstance(s, str) for s in value):
        return [('add_string', _text(s), len(_text(s))) for s in value]
    if kind == _IDS and isinstance(value, (list, tuple, set, frozenset)) and all(_is_int(i) and i >= 0 for i in value):
        return [('add_id', int(i)) for i in value]
    if kind == _BIAS and isinstance(value, dict):
        try:
            items = [(int(token), float(bias)) for token, bias in value.items()]
        except (TypeError, ValueError):
            return None
        if all(_is_int(token) and token >= 0 and bias == bias for token, bias in items):
            return [('add_bias', token, bias) for token, bias in items]
    return None


def _fill(params, settings):
    for name, value in settings.items():
        if value is None:
            continue
        field, kind = _library.numbers.get(name, (0, _PAIRS))
        calls = _calls(kind, value)
        if calls is None:
            field, key = _library.numbers[_EXTRA][0], _text(name)
            text = json.dumps(value, sort_keys=True, separators=(',', ':')).encode()
            calls = [('add_pair', key, len(key), text, len(text))]
        for call, *arguments in calls:
            error = getattr(_library, 'params_' + call)(params, field, *arguments)
            if error:
                raise OSError(-error, f'{name}={value!r}: {os.strerror(-error)}')


def encode_params(settings):
    """A dict of sampling parameters as bytes: equal settings give equal bytes. None is the same as absent; what the table of
    fields does not know, or has in another form, is kept as JSON."""
    with _Params() as params:
        _fill(params, settings)
        length = _library.params_encode(params, None, 0)
        buffer = ctypes.create_string_buffer(length)
        _library.params_encode(params, buffer, length)
        return buffer.raw


def _value(params, field, kind, item):
    """One item: a number, a text, or a pair for a dict."""
    number, real, name, text, name_length, length = _I64(), _REALS(), _P(), _P(), _SIZE(), _SIZE()
    if kind in (_REAL, _BIAS):
        _library.params_real(params, field, item, number, real)
        return real.value if kind == _REAL else (number.value, real.value)
    if kind in (_INT, _FLAG, _IDS):
        _library.params_int(params, field, item, number)
        return bool(number.value) if kind == _FLAG else number.value
    _library.params_bytes(params, field, item, name, name_length, text, length)
    texts = [ctypes.string_at(p, n.value).decode('utf-8', 'surrogatepass') for p, n in ((name, name_length), (text, length))]
    return texts[1] if kind == _STRINGS else (texts[0], json.loads(texts[1]))


def decode_params(encoded):
    """The dict of an encoding (bytes or Interned), without what was at its default. ValueError: it is none."""
    encoded, settings = bytes(encoded), {}
    with _Params() as params:
        if _library.params_decode(params, encoded, len(encoded)):
            raise ValueError('not an encoding of sampling parameters')
        for field, (name, kind) in _library.fields.items():
            values = [_value(params, field, kind, i) for i in range(_library.params_count(params, field))]
            if kind == _PAIRS:
                settings.update(values)
            elif values:
                settings[name] = dict(values) if kind == _BIAS else values if kind in (_STRINGS, _IDS) else values[0]
    return settings


def intern_params(settings):
    """encode_params, interned: equal settings share one content, whatever their order."""
    return Interned(encode_params(settings), PARAMS_TAG)
