#!/usr/bin/env python3
"""Generates the simulated driver's outer skin from NVIDIA's public headers.

An *export* is one name that cuda.h declares (cuMemAlloc, cuMemAlloc_v2, cuMemcpyHtoD_v2_ptds ...).
It is *implemented* when one of our sources defines DRV(name), or DRV of the same name without the per-thread
suffix; otherwise it is *declined*: exported all the same, answering CUDA_ERROR_NOT_SUPPORTED.
A *proc* is one row of cudaTypedefs.h, PFN_<base>_v<version>[_ptsz|_ptds]: the answer cuGetProcAddress gives for
(base, version, per-thread flag). The n-th version of a base is the n-th ABI name of that base.

    gen_driver.py OUTDIR PREPROCESSED SOURCE...

PREPROCESSED is cuda.h, cudaProfiler.h and their Typedefs after the C preprocessor with __CUDA_API_VERSION_INTERNAL.
Writes decl.h exports.c procs.inc names.inc errors.inc libcuda.map libcuda-VERSION.map coverage.txt: an older driver is the same
library with fewer exports."""
import collections, io, os, re, sys

# Declared in cuda.h but absent from cudaTypedefs.h: the version in which their documentation says they appeared.
LATE = {'cuCtxRecordEvent': 12050, 'cuCtxWaitEvent': 12050, 'cuGreenCtxGetId': 13000,
        'cuDeviceRegisterAsyncNotification': 12040, 'cuDeviceUnregisterAsyncNotification': 12040,
        'cuCoredumpGetAttribute': 12010, 'cuCoredumpSetAttribute': 12010,
        'cuCoredumpGetAttributeGlobal': 12010, 'cuCoredumpSetAttributeGlobal': 12010}
LATE_DEFAULT = 12040   # the green-context family

OLDER_DRIVERS = [12000]

# May be called before cuInit.
EARLY = {'cuInit', 'cuDriverGetVersion', 'cuGetProcAddress', 'cuGetErrorName', 'cuGetErrorString', 'cuGetExportTable'}

# "Potentially unsafe" during stream capture: may enqueue, allocate or synchronise outside the captured work.
UNSAFE = {'cuMemAlloc', 'cuMemAllocPitch', 'cuMemAllocManaged', 'cuMemFree', 'cuMemAllocHost', 'cuMemHostAlloc', 'cuMemFreeHost',
          'cuMemHostRegister', 'cuMemHostUnregister', 'cuEventQuery', 'cuCtxSynchronize',
          'cuIpcOpenMemHandle', 'cuIpcCloseMemHandle',
          'cuArrayCreate', 'cuArray3DCreate', 'cuArrayDestroy', 'cuMipmappedArrayCreate', 'cuMipmappedArrayDestroy',
          'cuMemcpy', 'cuMemcpyPeer', 'cuMemcpyHtoD', 'cuMemcpyDtoH', 'cuMemcpyDtoD', 'cuMemcpy2D', 'cuMemcpy2DUnaligned',
          'cuMemcpy3D', 'cuMemcpy3DPeer', 'cuMemsetD8', 'cuMemsetD16', 'cuMemsetD32', 'cuMemsetD2D8', 'cuMemsetD2D16',
          'cuMemsetD2D32', 'cuMemPoolTrimTo'}


def split_name(name):
    m = re.match(r'(cu\w+?)(_v\d)?(_pt[ds][sz])?$', name)
    return m.group(1), int((m.group(2) or '_v1')[2:]), m.group(3) or ''


def parse_exports(text):
    """name -> parameter list as written"""
    out = {}
    for m in re.finditer(r'\bCUresult\s+(cu[A-Z]\w*)\s*\(([^;{}]*?)\)\s*;', text):
        out.setdefault(m.group(1), ' '.join(m.group(2).split()))
    return out


def split_params(params):
    if params in ('', 'void'):
        return []
    out, depth, cur = [], 0, ''
    for ch in params:
        depth += ch in '([' 
        depth -= ch in ')]'
        if ch == ',' and depth == 0:
            out.append(cur.strip()); cur = ''
        else:
            cur += ch
    return out + [cur.strip()]


def argument(param):
    """the name of one declared parameter"""
    m = re.search(r'\(\s*\*\s*(\w+)\s*\)', param)
    if m:
        return m.group(1)
    return re.search(r'(\w+)\s*(\[[^\]]*\])?$', param).group(1)


def parse_procs(text, exports):
    rows = []
    versions = collections.defaultdict(list)
    abis = collections.defaultdict(list)
    for name in exports:
        base, v, pt = split_name(name)
        abis[base, pt].append((v, name))
    for m in re.finditer(r'\(\s*\*PFN_(cu\w+?)_v(\d+)(_pt[sd][sz])?\)', text):
        versions[m.group(1), m.group(3) or ''].append(int(m.group(2)))
    for key, names in abis.items():
        names.sort()
        known = sorted(set(versions.get(key, [])))
        if not known:
            known = [LATE.get(key[0], LATE_DEFAULT)] * len(names)
        if len(known) != len(names):
            sys.exit(f'gen_driver: {key}: versions {known} do not pair with {names}')
        rows += [(key[0], version, bool(key[1]), name) for version, (_, name) in zip(known, names)]
    return sorted(rows)


class Output(io.StringIO):
    """A file that is written only when its content changed, so that make rebuilds only what must be."""
    def __init__(self, path):
        super().__init__()
        self.path = path

    def __exit__(self, *_):
        new = self.getvalue()
        if not os.path.exists(self.path) or open(self.path).read() != new:
            with open(self.path, 'w') as f:
                f.write(new)
        self.close()


def main():
    out, pre, sources = sys.argv[1], sys.argv[2], sys.argv[3:]
    text = re.sub(r'__attribute__\s*\(\(.*?\)\)', '', open(pre).read())
    exports = parse_exports(text)
    procs = parse_procs(text, exports)
    done = set()
    for path in sources:
        done |= set(re.findall(r'\bDRV\((cu\w+)\)\s*\(', open(path).read()))
    stray = sorted(done - set(exports))
    if stray:
        sys.exit(f'gen_driver: not in the header: {stray}')
    names = sorted(exports)
    os.makedirs(out, exist_ok=True)

    def impl(name):
        if name in done:
            return name
        base = re.sub(r'_pt[ds][sz]$', '', name)
        return base if base in done else None

    with Output(f'{out}/decl.h') as f:
        for n in sorted(done):
            f.write(f'__attribute__((visibility("hidden"))) __typeof__({n}) sim_{n};\n')
    with Output(f'{out}/names.inc') as f:
        for n in names:
            f.write(f'"{n}",\n')
    with Output(f'{out}/ids.h') as f:
        f.write('enum call_id {\n')
        for n in names:
            f.write(f'    ID_{n},\n')
        f.write('    ID_COUNT\n};\n')
    with Output(f'{out}/exports.c') as f:
        f.write('/* Generated by gen_driver.py: every function that cuda.h declares. */\n#include "entry.h"\n')
        for n in names:
            params = split_params(exports[n])
            args = [argument(p) for p in params]
            base = split_name(n)[0]
            flags = []
            if base not in EARLY: flags.append('CALL_NEEDS_INIT')
            if base in UNSAFE: flags.append('CALL_CAPTURE_UNSAFE')
            if re.search(r'_pt[ds][sz]$', n) and n not in done: flags.append('CALL_PER_THREAD')
            flag = '|'.join(flags) or '0'
            target = impl(n)
            f.write(f'EXPORT CUresult {n}({", ".join(params) or "void"}) {{\n')
            if target is None:
                f.write(''.join(f'    (void){a};\n' for a in args))
                f.write(f'    return call_declined(ID_{n});\n}}\n')
            else:
                f.write(f'    CALL(ID_{n}, {flag}, sim_{target}({", ".join(args)}));\n}}\n')
    with Output(f'{out}/procs.inc') as f:
        for base, version, pt, name in procs:
            f.write(f'{{ "{base}", {version}, {int(pt)}, (void *){name} }},\n')
    with Output(f'{out}/errors.inc') as f:
        seen = set()
        enum = re.search(r'typedef enum cudaError_enum \{(.*?)\} CUresult;', text, re.S).group(1)
        for name, value in re.findall(r'(CUDA_\w+)\s*=\s*(\d+)', enum):
            if value not in seen:
                seen.add(value)
                f.write(f'ERR({name}, {value})\n')
    appeared = {}
    for _, version, _, name in procs:
        appeared[name] = min(version, appeared.get(name, version))
    for path, limit in [('libcuda.map', None)] + [(f'libcuda-{version}.map', version) for version in OLDER_DRIVERS]:
        with Output(f'{out}/{path}') as f:
            f.write('{\nglobal:\n')
            for n in names:
                if limit is None or appeared.get(n, 0) <= limit:
                    f.write(f'  {n};\n')
            f.write('  coppice_sim_control;\nlocal: *;\n};\n')
    with Output(f'{out}/coverage.txt') as f:
        yes = [n for n in names if impl(n)]
        no = [n for n in names if not impl(n)]
        f.write(f'exported {len(names)}  implemented {len(yes)}  declined {len(no)}\n')
        for n in names:
            f.write(f'{n:58s} {"implemented" if impl(n) else "declined (CUDA_ERROR_NOT_SUPPORTED)"}\n')


if __name__ == "__main__":
    main()
