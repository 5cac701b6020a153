"""The filesystem of a path, by tables of real systems and by this system's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixmagic.store.sqlite import network_filesystem

LINUX = r"""22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
30 27 0:27 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64
41 27 0:35 / /home rw,relatime shared:30 - autofs /etc/auto.home rw,fd=7,timeout=300,indirect
42 41 0:50 / /home/ada rw,relatime shared:31 - nfs4 files:/export/home/ada rw,vers=4.2,hard
43 27 0:51 / /home/ada/local\040disk rw shared:32 master:3 propagate_from:2 - xfs /dev/sdb1 rw
44 27 0:52 / /mnt/back\134slash rw - cifs //server/share\040two rw,vers=3.1.1
45 27 0:53 / /mnt/ünïcode rw - fuse.sshfs me@host:/ rw,user_id=1000
46 27 0:54 / /mnt/over rw - ext4 /dev/sdc1 rw
47 46 0:55 / /mnt/over rw - nfs server:/over rw
48 27 0:56 / /mnt/c rw,noatime - 9p C:\134 rw,dirsync,aname=drvfs;path=C:\
49 27 8:33 / /mnt/usb rw - fuseblk /dev/sdd1 rw,user_id=0
50 27 0:57 / /scratch rw - lustre 10.0.0.1@tcp:/scratch rw,flock
51 27 0:58 / /gpfs rw - gpfs gpfs rw
52 27 0:59 /@home /srv rw - btrfs /dev/sde rw,subvol=/@home
not a line of the table
53 27 0:60 / /short
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/mixmagic", "ext4"),
        ("/home", "autofs"),
        ("/home/ada", "nfs4"),
        ("/home/ada/.local/share/mixmagic/ledger.db", "nfs4"),
        ("/home/adalbert/data", "autofs"),
        ("/home/ada/local disk/data", "xfs"),
        ("/home/ada/local", "nfs4"),
        (r"/mnt/back\slash/data", "cifs"),
        ("/mnt/ünïcode/data", "fuse.sshfs"),
        ("/mnt/over/data", "nfs"),
        ("/mnt/overt", "ext4"),
        ("/mnt/c/Users/ada", "9p"),
        ("/mnt/usb/data", "fuseblk"),
        ("/srv/data", "btrfs"),
        ("/dev/shm/data", "tmpfs"),
    ],
)
def test_the_innermost_mount_holds_a_path(path, kind):
    assert network_filesystem.filesystem_type(LINUX, path) == kind


def test_an_empty_table_gives_an_empty_type():
    assert network_filesystem.filesystem_type("", "/home/ada") == ""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ada/data", "nfs4"),
        ("/mnt/over", "nfs"),
        ("/mnt/ünïcode", "fuse.sshfs"),
        ("/mnt/c/data", "9p"),
        ("/scratch/ada", "lustre"),
        ("/gpfs/ada", "gpfs"),
        ("/home/ada/local disk", ""),
        ("/mnt/usb", ""),
        ("/srv", ""),
        ("/dev/shm", ""),
        ("/nowhere/yet", ""),
    ],
)
def test_network_filesystems_are_distinguished_from_disks(tmp_path, monkeypatch, path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(LINUX, "utf-8")
    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    assert network_filesystem.network_type(Path(path)) == kind


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "afpfs", "fuse", "fuse.sshfs"),
        *("fuse.rclone", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.glusterfs"),
        *("webdav", "virtiofs", "vboxsf"),
    ],
)
def test_every_kind_of_network_is_known(tmp_path, monkeypatch, kind):
    table = tmp_path / "mountinfo"
    table.write_text(f"27 1 254:0 / / rw - {kind} source rw\n")
    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    assert network_filesystem.network_type(tmp_path) == kind


def test_links_are_followed(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(f"27 1 8:1 / / rw - ext4 d rw\n28 27 0:9 / {tmp_path}/far rw - nfs4 s:/ rw\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    assert network_filesystem.network_type(tmp_path / "near" / "not" / "there" / "yet.db") == "nfs4"
    assert network_filesystem.network_type(tmp_path / "not there") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="a table of Linux")
def test_this_systems_own_table_is_read(tmp_path):
    """A real mount, with characters that the table writes in octal."""
    folder = tmp_path / "a b\tc\\d ü"
    folder.mkdir()
    before = network_filesystem.filesystem_type(
        network_filesystem._MOUNT_TABLE.read_text("utf-8"), str(folder)
    )
    assert before
    assert (
        network_filesystem.filesystem_type(
            network_filesystem._MOUNT_TABLE.read_text("utf-8"), "/proc/self"
        )
        == "proc"
    )
    mount = ["mount", "-t", "ramfs", "ramfs", folder]
    if os.getuid() != 0 or subprocess.run(mount, check=False, timeout=120).returncode:
        pytest.skip("only who may mount can see it")
    try:
        assert (
            network_filesystem.filesystem_type(
                network_filesystem._MOUNT_TABLE.read_text("utf-8"), str(folder / "x")
            )
            == "ramfs"
        )
        assert network_filesystem.network_type(folder) == ""
    finally:
        subprocess.run(["umount", folder], check=True, timeout=120)


def test_without_a_table_psutil_is_used(tmp_path, monkeypatch):
    """As on macOS: first with the disks of this system, then with those of a Mac."""
    import psutil

    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", tmp_path / "none")
    assert network_filesystem.network_type(tmp_path) == ""
    mac = [("/", "apfs"), ("/System/Volumes/Data", "apfs"), (str(tmp_path), "smbfs")]
    said = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mac]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: said)
    assert network_filesystem.network_type(tmp_path / "data") == "smbfs"
    assert network_filesystem.network_type(tmp_path.parent) == ""
