#!/usr/bin/env python3
"""Declines every function that nvml.h declares and that the given objects do not define: gen_nvml.py FLAGS OBJECT...

A partial libnvidia-ml is worse than none, because programs look for symbols and stop at the first that is missing. The
header is preprocessed with and without its mapping of plain names to the newest version, so old versions are there too."""
import os, re, subprocess, sys

flags, objects = sys.argv[1].split(), sys.argv[2:]
names = set()
for option in ([], ["-DNVML_NO_UNVERSIONED_FUNC_DEFS"]):
    text = subprocess.run([os.environ.get("CC", "cc"), "-E", "-P", "-w", *option, *flags, "-x", "c", "-"],
                          input="#include <nvml.h>\n", capture_output=True, text=True, check=True).stdout
    names |= set(re.findall(r"\bnvmlReturn_t\s+(nvml[A-Z]\w*)\s*\(", text))
have = subprocess.run(["nm", "-g", "--defined-only", *objects], capture_output=True, text=True, check=True).stdout
names -= set(re.findall(r" T (\w+)$", have, re.M))
print("/* made by gen_nvml.py: declared by nvml.h, not simulated */\nint nvml_decline(void);")
for name in sorted(names):
    print(f"int {name}(void); int {name}(void) {{ return nvml_decline(); }}")
