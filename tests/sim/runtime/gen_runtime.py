#!/usr/bin/env python3
"""Makes, at build time, what the simulated runtime takes from NVIDIA's public headers.

  gen_runtime.py errors  HEADERS           -> error_names.def: E(name, number) for every member of enum cudaError
  gen_runtime.py declines HEADERS OBJECT.. -> a C file that declines each declared function which no OBJECT defines
  gen_runtime.py coverage HEADERS OBJECT.. -> a table: declared, implemented, declined

HEADERS is one argument: the compiler's -I/-isystem flags. A *declared* function is one that cuda_runtime_api.h
declares after preprocessing, in both settings of the per-thread default stream, or that the profiler's or one of the
interoperability headers declares in its text (those may be missing, and need graphics headers to be preprocessed). A *declined* function
exists, so that programs link and load, and answers cudaErrorNotSupported."""
import os, re, subprocess, sys

INTEROP = ["cuda_profiler_api.h", "cuda_gl_interop.h", "cuda_egl_interop.h", "cuda_vdpau_interop.h"]
DECLARATION = re.compile(r"\bextern\b[^;{}]*?\b(cuda[A-Z]\w*)\s*\(")


def folders(flags):
    words = flags.split()
    return [words[i + 1] if w == "-isystem" else w[2:] for i, w in enumerate(words) if w == "-isystem" or w.startswith("-I")]


def header(flags, name):
    for folder in folders(flags):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as f:
                return f.read()
    return ""


def preprocess(flags, *options):
    source = "#include <cuda_runtime_api.h>\n"
    command = [os.environ.get("CC", "cc"), "-E", "-P", "-w", *options, *flags.split(), "-x", "c", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def declared(flags):
    names = set()
    for options in ([], ["-DCUDA_API_PER_THREAD_DEFAULT_STREAM"]):
        names |= set(DECLARATION.findall(preprocess(flags, *options)))
    for name in INTEROP:
        names |= set(re.findall(r"CUDARTAPI\s+(cuda[A-Z]\w*)\s*\(", header(flags, name)))
    return {n for n in names if "WGL" not in n}  # those are for Windows


def defined(objects):
    out = subprocess.run(["nm", "-g", "--defined-only", *objects], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r" [TDBR] (\w+)$", out, re.M))


def errors(flags):
    text = header(flags, "driver_types.h")
    body = re.search(r"enum\s+__device_builtin__\s+cudaError\s*\{(.*?)\n\s*\};", text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return "".join(f"E({n}, {v})\n" for n, v in re.findall(r"\b(cuda\w+)\s*=\s*(0x[0-9a-fA-F]+|\d+)", body))


def declines(names):
    lines = ["/* made by gen_runtime.py: declared by the public headers, not simulated */",
             "int rt_declined(const char *name);",
             "#define DECLINE(name) int name(void); int name(void) { return rt_declined(#name); }"]
    return "\n".join(lines + [f"DECLINE({n})" for n in sorted(names)]) + "\n"


def main():
    what, flags, objects = sys.argv[1], sys.argv[2], sys.argv[3:]
    if what == "errors":
        sys.stdout.write(errors(flags))
        return
    have, want = defined(objects), declared(flags)
    if what == "declines":
        sys.stdout.write(declines(want - have))
    else:
        print(f"declared {len(want)} implemented {len(want & have)} declined {len(want - have)}")
        for name in sorted(want):
            print(f"{'implemented' if name in have else 'declined':12} {name}")


main()
