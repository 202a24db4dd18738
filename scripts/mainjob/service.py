"""service.py: one running server: started, waited for, signalled, stopped.

With Coppice means: the same command and environment plus LD_PRELOAD and the COPPICE_STATS variables, nothing else;
`extra` is what somebody who compares settings adds.
The server's output goes to a log file beside its statistics.
"""
import ctypes
import os
import signal
import socket
import subprocess
import time

STOP_TIMEOUT = 30
PR_SET_PDEATHSIG = 1                 # linux/prctl.h


class DidNotStart(Exception):
    """The server ended or stayed silent; the text says where its log lies and how it ends."""


def _end_with_parent():
    """In the server, before it starts: when the driver dies, even of SIGKILL, no server stays behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def coppice_environment(library, folder):
    """What a person sets to run a program under Coppice with JSON statistics in `folder`."""
    others = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": f"{library}:{others}" if others else str(library), "COPPICE_STATS": "exit,signal",
            "COPPICE_STATS_FORMAT": "json", "COPPICE_STATS_FILE": str(folder / "%p.json")}


class Service:
    """A server process that answers on .port."""

    def __init__(self, server, run_name, folder, library=None, extra=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.server, self.log, self.port, self.folder = server, folder / "server.log", free_port(), folder
        env = {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_STATS")}
        env.update(server.environment(run_name), PORT=str(self.port))
        self.plain_environment = dict(env)
        env.update(extra or {})
        if library:
            env.update(coppice_environment(library, folder))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(server.argv(self.port), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=_end_with_parent)
        self.pid = self.process.pid
        self._wait_until_ready()

    def _wait_until_ready(self):
        deadline = time.monotonic() + self.server.start_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self.server.is_up(self.port):
                return
            time.sleep(0.1)
        status = self.stop()
        tail = self.log.read_text(errors="replace").strip().splitlines()[-6:]
        raise DidNotStart(f"the server did not start (status {status}, log {self.log}):\n  " + "\n  ".join(tail))

    def dump_live(self):
        """Ask for statistics by SIGUSR1: True when they came and the server still answers, None when nobody listens."""
        with open(f"/proc/{self.pid}/status") as file:
            caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt:"))
        if not caught >> (signal.SIGUSR1 - 1) & 1:
            return None              # the signal would end the server: nobody has asked for it
        os.kill(self.pid, signal.SIGUSR1)
        wanted = self.folder / f"{self.pid}.json"
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not wanted.exists():
            time.sleep(0.05)
        return wanted.exists() and self.server.is_up(self.port)

    def stop(self):
        """SIGTERM, then SIGKILL for what is left of its process group; the exit status."""
        try:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.process.wait()
