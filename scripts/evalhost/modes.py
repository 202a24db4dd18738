"""modes.py: the ways in which a server can be given its memory. A *mode* is an environment over the same command: glibc's own
malloc, its one-line remedy, the allocators that people preload, Coppice, and Coppice with one mechanism switched.

Rivals are Debian's packages; jemalloc-tuned is what a patient person arrives at. `settle` says how a program that is linked
with an allocator of its own (redis with jemalloc) is made to use glibc's. coppice-kernel-merges is INTERN=pages where userfaultfd is not permitted and
root has switched the kernel's merging on (/sys/kernel/mm/ksm/run; not done here); coppice-unprivileged is where there is neither.
"""
import os
import sysconfig
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[2]
LIBRARY = REPO / "build" / "libcoppice.so"
LIBRARIES = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu")
PACKAGES = {"libjemalloc.so.2": "libjemalloc2", "libmimalloc.so.2": "libmimalloc2.0", "libtcmalloc_minimal.so.4": "libtcmalloc-minimal4"}


class Mode(NamedTuple):
    name: str
    preload: str        # a library's file name in LIBRARIES, "coppice", or "" for none
    environment: dict

    @property
    def is_coppice(self):
        return self.preload == "coppice"

    def missing(self):
        """Why this mode can't run here, or None."""
        if self.is_coppice:
            return None if LIBRARY.is_file() else "build/libcoppice.so is not there: run make first"
        if self.preload and not (LIBRARIES / self.preload).exists():
            return f"{self.preload} is not there: apt-get install {PACKAGES[self.preload]}"
        return None

    def settle(self, own_allocator):
        """The environment for a server; `own_allocator`: it is linked with one, so glibc has to be put in front."""
        if self.is_coppice:
            return {"LD_PRELOAD": str(LIBRARY), **self.environment}
        library = self.preload or ("libc.so.6" if own_allocator else "")
        return {**({"LD_PRELOAD": str(LIBRARIES / library)} if library else {}), **self.environment}


MODES = [
    Mode("glibc", "", {}),
    Mode("glibc-2-arenas", "", {"MALLOC_ARENA_MAX": "2"}),
    Mode("jemalloc", "libjemalloc.so.2", {}),
    Mode("jemalloc-tuned", "libjemalloc.so.2", {"MALLOC_CONF": "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0"}),
    Mode("mimalloc", "libmimalloc.so.2", {}),
    Mode("tcmalloc", "libtcmalloc_minimal.so.4", {}),
    Mode("coppice", "coppice", {}),
    Mode("coppice-pages", "coppice", {"COPPICE_INTERN": "pages"}),
    Mode("coppice-packed", "coppice", {"COPPICE_PACK": "1"}),
    Mode("coppice-unpacked", "coppice", {"COPPICE_PACK": "0"}),
    Mode("coppice-kernel-merges", "coppice", {"COPPICE_INTERN": "pages", "COPPICE_SHARE_BACKEND": "kernel", "COPPICE_ZERO_RECLAIM": "off"}),
    Mode("coppice-unprivileged", "coppice", {"COPPICE_ZERO_RECLAIM": "off"}),
    Mode("coppice-plain-clears", "coppice", {"COPPICE_LAZY_CLEAR": "0"}),
]


def chosen(names):
    """The modes of these names, all when there are none. ValueError names what is not known."""
    known = {mode.name: mode for mode in MODES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no mode {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names] or MODES
