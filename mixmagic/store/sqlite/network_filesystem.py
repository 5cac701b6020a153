"""Detection of network filesystems, on which SQLite's write-ahead log does not work.

The log needs memory that all its readers share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# Filesystems served by another machine, or by the host of a virtual one. A FUSE server may be
# anywhere, so all of them count, except `fuseblk`, which is a local disk.
_NETWORK = re.compile(
    r"9p|acfs|afpfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|fakeowner|fuse(\..*)?|gfs2|glusterfs|gpfs"
    r"|grpcfuse|lustre|macfuse|ncpfs|nfs[34]?|ocfs2|orangefs|osxfs|osxfuse|panfs|prl_fs|pvfs2"
    r"|smb[23]|smbfs|vboxsf|virtiofs|vmhgfs|webdav|wekafs"
)
_MOUNT_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_type(path: Path) -> str:
    """Return the type of the network filesystem that holds a path; empty if it is local.

    Linux has a table of mounts, Windows shows it in the path; elsewhere psutil asks the system.

    Example:
        >>> network_type(Path("/home/ada/data"))
        'nfs4'
    """
    real = os.path.realpath(path)
    if os.name == "nt":  # a mapped drive letter is resolved, too
        return "UNC" if real.startswith("\\\\") else ""
    if _MOUNT_TABLE.exists():
        mounted = filesystem_type(_MOUNT_TABLE.read_text("utf-8", "surrogateescape"), real)
    else:
        import psutil

        disks = psutil.disk_partitions(all=True)
        mounted = _innermost(((disk.mountpoint, disk.fstype) for disk in disks), real)
    return mounted if _NETWORK.fullmatch(mounted) else ""


def filesystem_type(table: str, path: str) -> str:
    """Return the type of the filesystem that holds a path; empty if the table does not say.

    Args:
        table: The text of `/proc/self/mountinfo`.
        path: An absolute path without symbolic links.
    """
    mounts = []
    for line in table.splitlines():
        # id, parent, device, root, mount point, options …, "-", type, source, options
        left, _, right = line.partition(" - ")
        if right and len(fields := left.split(" ")) > 4:
            point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])
            mounts.append((point, right.split(" ")[0]))
    return _innermost(mounts, path)


def _innermost(mounts: Iterable[tuple[str, str]], path: str) -> str:
    """Return the type at the longest mount point above a path; later mounts hide earlier ones."""
    longest, innermost = "", ""
    for point, type_ in mounts:
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):
            longest, innermost = point, type_
    return innermost
