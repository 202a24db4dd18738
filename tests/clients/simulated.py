"""simulated.py: how an unmodified PyPI program runs on the simulated device, without and with Coppice.

A *client* is some pinned packages (installed once, without the nvidia packages), an exercise (a Python program that prints
one line of facts for each scenario) and its *configurations* (environments). The simulated device stands in for the driver,
the runtime, cuBLAS and NVML; tests/sim/libraries/make-stubs for every other NVIDIA library that the packages name. What the
exercise prints must be the same in both runs, and the statistics must say that Coppice took part where it can.

One line a configuration: `ok`, `FAIL ...: why` or `SKIP ...: reason`; the status is 0, 1 or 77."""
import concurrent.futures, json, os, shutil, subprocess, sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts"))
from mainjob import cache  # noqa: E402

SIM, LIBRARY = REPO / "build/sim", REPO / "build/libcoppice.so"
CAPACITY = 4 << 30
LIMIT_S = 180


class Skip(Exception):
    pass


class Client:
    """folder: the exercise's. libraries: globs in the installed folder whose import lists name the stand-ins.
    configurations: name -> (environment, does Coppice see its allocations as blocks?)"""

    def __init__(self, folder, packages, needs_bytes, libraries, configurations):
        self.name, self.exercise, self.packages = folder.name, folder / "exercise.py", packages
        self.needs_bytes, self.libraries, self.configurations = needs_bytes, libraries, configurations
        self.build = REPO / "build/tests" / self.name

    def prepare(self, plain_only):
        """Installs and makes what is missing; a reason when this machine can't."""
        if not (SIM / "libcuda.so.1").exists():
            raise Skip("the simulated device is not built: run make")
        if not plain_only and not LIBRARY.is_file():
            raise Skip(f"{LIBRARY.relative_to(REPO)} is not built: run make")
        self.site = self._site()
        self.build.mkdir(parents=True, exist_ok=True)
        self.stubs = self.build / "stubs"
        found = sorted(str(p) for glob in self.libraries for p in self.site.glob(glob))
        subprocess.run([REPO / "tests/sim/libraries/make-stubs", self.stubs, SIM, *found], check=True, stdout=subprocess.DEVNULL)

    def _site(self):
        first = self.packages[0].replace("==", "-")
        folder = cache.root() / "python" / f"{first}-py{sys.version_info.major}{sys.version_info.minor}"
        if not folder.exists() and shutil.disk_usage(cache.root()).free < self.needs_bytes:
            raise Skip(f"less than {self.needs_bytes >> 30} GiB free in {cache.root()}")
        try:
            return cache.pip_target(folder.name, self.wanted())
        except cache.Missing as why:
            raise Skip(" ".join(str(why).split())) from None

    def wanted(self):
        return self.packages

    def environment(self, configuration, with_coppice):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("COPPICE_", "PYTORCH_", "SIM_"))}
        env |= {"PYTHONPATH": str(self.site), "PYTHONPYCACHEPREFIX": str(self.build / "pycache"), "OMP_NUM_THREADS": "2",
                "LD_LIBRARY_PATH": f"{SIM}:{self.stubs}", "SIM_CAPACITY": str(CAPACITY),
                "SIM_DEVICE_NAME": f"{self.name}-{configuration}-{os.getpid()}-{int(with_coppice)}"}
        if with_coppice:
            env |= {"LD_PRELOAD": str(LIBRARY), "COPPICE_STATS": "exit", "COPPICE_STATS_FORMAT": "json",
                    "COPPICE_STATS_FILE": str(self.build / f"{configuration}-%p.json")}
        return env | self.configurations[configuration][0]

    def one_run(self, configuration, with_coppice):
        """(status, lines of standard output); the whole output is left in a log"""
        with open(self.build / f"{configuration}-{'with' if with_coppice else 'without'}.log", "w+") as log:
            try:
                done = subprocess.run([sys.executable, self.exercise], env=self.environment(configuration, with_coppice),
                                      stdout=subprocess.PIPE, stderr=log, text=True, timeout=LIMIT_S)
                status, text = done.returncode, done.stdout
            except subprocess.TimeoutExpired as late:
                status, text = "timeout", (late.stdout or b"").decode()
            log.seek(0, 2)
            log.write(text)
        return status, text.splitlines()

    def statistics_fault(self, configuration):
        """Several processes leave statistics; the program's own are those with the most device allocations."""
        best = 0
        for file in self.build.glob(f"{configuration}-*.json"):
            try:
                best = max(best, sum(d.get("allocs", 0) for d in json.loads(file.read_text())["device"]))
            except (ValueError, KeyError):
                return f"{file.name} can't be read"
        return "" if best or not self.configurations[configuration][1] else "the statistics count no device allocation"

    def numbers(self, configuration):
        """What the statistics say of a run: allocations, hits, and calls that take memory of the driver or give it back; without
        Coppice each allocation and each free is one."""
        devices = [d for f in self.build.glob(f"{configuration}-*.json") for d in json.loads(f.read_text())["device"]]
        if not devices:
            return ""
        d = max(devices, key=lambda d: d["allocs"])
        return (f": {d['allocs']:,} allocations, {d['frees']:,} frees, hit rate {d['hit_rate']:.3f}, "
                f"{d['driver_allocs'] + d['driver_frees']:,} driver calls, {d['foreign_frees']:,} frees of others' memory" if d["allocs"] else "")

    def compare(self, configuration, plain_only):
        """What is wrong, or nothing. Both runs at once: each has a device of its own."""
        for old in self.build.glob(f"{configuration}-*.json"):
            old.unlink()
        kinds = (False,) if plain_only else (False, True)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            runs = list(pool.map(lambda with_coppice: self.one_run(configuration, with_coppice), kinds))
        for (status, lines), which in zip(runs, ("without", "with")):
            if status != 0:
                return f"{which} Coppice: status {status} {_faulty(lines)}"
        if plain_only:
            return ""
        different = [f"{a} became {b}" for a, b in zip(runs[0][1], runs[1][1]) if a != b]
        return different[0] if different else self.statistics_fault(configuration)


def _faulty(lines):
    """The first line that reports an error, else the last one."""
    return ([line for line in lines if '"error"' in line][:1] or lines[-1:] or ["nothing was printed"])[0]


def main(client, arguments):
    plain_only = "--plain" in arguments
    names = [a for a in arguments if not a.startswith("-")] or list(client.configurations)
    try:
        client.prepare(plain_only)
    except Skip as why:
        print(f"SKIP {client.name}: {why}")
        return 77
    bad = 0
    for name in names:
        fault = client.compare(name, plain_only)
        bad += bool(fault)
        print(f"FAIL {client.name} {name}: {fault}" if fault else f"ok {client.name} {name}{'' if plain_only else client.numbers(name)}", flush=True)
    return 1 if bad else 0


def scenarios(functions, names):
    """The body of an exercise: each scenario's facts as a line of JSON; one that raises says so, and the rest still run."""
    import traceback
    failed = 0
    for scenario in functions:
        if names and scenario.__name__ not in names:
            continue
        try:
            facts = scenario()
        except Exception as error:
            traceback.print_exc()
            facts, failed = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}, failed + 1
        print(json.dumps({scenario.__name__: facts}), flush=True)
    return 1 if failed else 0
