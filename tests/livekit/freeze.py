"""freeze.py PID NAME: stops the threads of a process that have this name, those that come later too, until standard input ends; then they go on.

As a driver that never comes back does it: the rest of the process runs on. Prints a line for each thread that it has stopped.
"""

import ctypes
import os
import pathlib
import select
import sys

SEIZE, INTERRUPT = 0x4206, 0x4207
EVERY_S = 0.05

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, thread: int) -> None:
    if libc.ptrace(request, thread, None, None) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")


def name_of(task: pathlib.Path) -> str:
    """A thread's name; none, if it has ended since it was listed."""
    try:
        return (task / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def main() -> None:
    process, name = int(sys.argv[1]), sys.argv[2]
    stopped: set[int] = set()
    while True:
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            thread = int(task.name)
            if thread in stopped or name_of(task) != name:
                continue
            try:
                ptrace(SEIZE, thread)
                ptrace(INTERRUPT, thread)
            except ProcessLookupError:
                # It ended just now.
                continue
            stopped.add(thread)
            print(f"stopped {thread}", flush=True)
        if select.select([sys.stdin], [], [], EVERY_S)[0]:
            # Let go of with this process.
            return


main()
