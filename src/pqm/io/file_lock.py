"""A lock on a file, which ends with its process, so that two processes do not work on the same thing at the same time."""

import errno
import fcntl
import os
from pathlib import Path

from pqm.progress import say

BUSY = (errno.EACCES, errno.EAGAIN)
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FileLock:
    """An exclusive lock, held until `release` or until the process ends in any way.

    It is a POSIX lock: it also works between machines that share a folder by NFS, and child processes do not inherit it. It
    excludes other processes, not other parts of the same process.

    Args:
        path: the lock file. It is created, and removed by `release`.
        busy: the log line if another process has the lock. This process then waits.
    """

    def __init__(self, path: Path, busy: str) -> None:
        self.path = path
        self._file = self._opened(busy)
        while not self._is_in_place():
            os.close(self._file)
            self._file = self._opened(busy)

    def release(self) -> None:
        """Remove the file and end the lock, in this order, so that nobody can remove the file of the next holder."""
        if self._is_in_place():
            self.path.unlink()
        os.close(self._file)

    def _opened(self, busy: str) -> int:
        """Open and lock the file."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                say(f"{self.path.parent}: this file system has no locks; do not run two builds of a study at the same time")
            elif error.errno in BUSY:
                say(busy)
                fcntl.lockf(file, fcntl.LOCK_EX)
            else:
                raise
        return file

    def _is_in_place(self) -> bool:
        """Whether the open file is still at the path. The process that had the lock before may have removed it."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except OSError:
            return False
