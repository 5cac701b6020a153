"""Folders on network filesystems: SQLite's write-ahead log needs memory that all share.

For the modules of this package, and for whoever tells the user about it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# What is served by another machine, or by the host of a virtual one. A server behind FUSE
# may be anywhere: all of them count, but not `fuseblk`, which is a disk.
_NETWORK = re.compile(
    r"9p|acfs|afpfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|fakeowner|fuse(\..*)?|gfs2|glusterfs|gpfs"
    r"|grpcfuse|lustre|macfuse|ncpfs|nfs[34]?|ocfs2|orangefs|osxfs|osxfuse|panfs|prl_fs|pvfs2"
    r"|smb[23]|smbfs|vboxsf|virtiofs|vmhgfs|webdav|wekafs"
)
_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network(path: Path) -> str:
    """Return the type of the network filesystem of a path; empty if it is a local one.

    Linux says it itself, Windows has it in the path, and elsewhere psutil, which comes with
    ipykernel, asks the system.
    """
    real = os.path.realpath(path)
    if os.name == "nt":  # a drive letter of a network is resolved too
        return "UNC" if real.startswith("\\\\") else ""
    if _TABLE.exists():
        kind = filesystem(_TABLE.read_text("utf-8", "surrogateescape"), real)
    else:
        import psutil

        mounted = ((each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True))
        kind = _innermost(mounted, real)
    return kind if _NETWORK.fullmatch(kind) else ""


def filesystem(table: str, path: str) -> str:
    """Return the type of the filesystem of a path; empty if the table does not say.

    Args:
        table: The text of `/proc/self/mountinfo`.
        path: An absolute path without symbolic links.
    """
    mounted = []
    for line in table.splitlines():
        # id, parent, device, root, mount point, options …, "-", type, source, options
        place, _, kind = line.partition(" - ")
        if kind and len(fields := place.split(" ")) > 4:
            point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])
            mounted.append((point, kind.split(" ")[0]))
    return _innermost(mounted, path)


def _innermost(mounted: Iterable[tuple[str, str]], path: str) -> str:
    """Return the type at the longest mount point above a path; the later hides one at the same."""
    longest, found = "", ""
    for point, kind in mounted:
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):
            longest, found = point, kind
    return found
