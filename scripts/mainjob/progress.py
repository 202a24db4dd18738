"""progress.py: one bar for the whole job. On a terminal it is redrawn in place; elsewhere a line every tenth of the way
and one for each new phase, so that a log stays short."""
import sys
import threading
import time

WIDTH = 30


class Progress:
    """Counts steps towards a total known at the start. Safe to step from several threads."""

    def __init__(self, total, out=sys.stdout):
        self.total, self.out = max(1, total), out
        self.done, self.label, self.began = 0, "", time.monotonic()
        self.live, self.printed = out.isatty(), -1
        self.lock = threading.Lock()

    def phase(self, label):
        """What is being done now."""
        with self.lock:
            self.label = label
            self._show(force=True)

    def step(self):
        with self.lock:
            self.done += 1
            self._show(force=False)

    def end(self):
        with self.lock:
            if self.live:
                self.out.write("\r\033[K")
            self.live, self.out = False, _Silent()

    def say(self, line):
        """A line of its own, above the bar."""
        with self.lock:
            self.out.write(("\r\033[K" if self.live else "") + line + "\n")
            self.out.flush()

    def _show(self, force):
        share = min(1.0, self.done / self.total)
        tenth = int(share * 10)
        if not self.live and not force and tenth <= self.printed:
            return
        self.printed = tenth
        filled = int(share * WIDTH)
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%} {time.monotonic() - self.began:4.0f} s  {self.label}"
        self.out.write(f"\r\033[K{line}" if self.live else line + "\n")
        self.out.flush()


class _Silent:
    def write(self, text):
        """Nothing is shown after the end."""

    def flush(self):
        """Nothing to flush."""
