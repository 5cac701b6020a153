"""A guard for tests: Python code reaches no other machine, in this process and those it starts.

It is an audit hook of the interpreter, so it sees every socket of every Python library, however
that has imported `socket`. It does not see C libraries with sockets of their own (libcurl, gRPC) or
other programs (`curl`, `git`).

Imports only `errors`, since each Python that a guarded process starts runs it first: see
`guarded/sitecustomize.py`.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mixmagic.errors import NetworkBlocked

VARIABLE = "MIXMAGIC_BLOCK_NETWORK"
# The folder that makes other Pythons install the guard, if it is in PYTHONPATH.
FOLDER = str(Path(__file__).parent / "guarded")
_OFF = ("", "0", "false", "no")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# Address families whose sockets end on this machine, if the system has them.
_LOCAL = {getattr(socket, name, None) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG", "AF_SYSTEM")}
_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
_installed = False


def install() -> None:
    """Refuse connections to other machines, and look-ups of their names, if `VARIABLE` is set.

    A guard cannot be removed: it lasts as long as its process.
    """
    global _installed  # noqa: PLW0603
    if _installed or os.environ.get(VARIABLE, "").lower() in _OFF:
        return
    _installed = True
    _NAMES.add(socket.gethostname().lower())
    for name in [name for name in os.environ if name.lower() in _PROXIES]:
        del os.environ[name]  # one on this machine would forward everything
    os.environ.update(variables(os.environ))
    # These look names up before the interpreter calls its audit hooks.
    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    sys.addaudithook(_audit)


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a Python is guarded from its start.

    Args:
        environment: Its environment otherwise.
    """
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    if FOLDER not in folders:
        folders = [FOLDER, *folders]
    return {VARIABLE: "1", "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of `socket` that checks its last argument, the address, first."""

    @functools.wraps(method)
    def checked(self: socket.socket, *arguments: Any) -> Any:
        if arguments:
            _check_address(self, arguments[-1])
        return method(self, *arguments)

    return checked


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS:
        _EVENTS[event](*arguments)


def _check_address(sock: Any, address: Any) -> None:
    """Check where a connection or a datagram goes: `None` is where the socket is connected."""
    if address is None or sock.family in _LOCAL:
        return
    if sock.family not in _INTERNET:
        _block(f"A connection to {address!r}")
    # `socket` itself refuses an address that is not a tuple.
    if isinstance(address, tuple) and address and not _is_here(address[0]):
        _block(f"A connection to {_text(address[0])}")


def _check_look_up(host: Any, *_: Any) -> None:
    """Check a name before its addresses are looked up: a number needs no look-up."""
    if not _is_here(host) and _number(host) is None:
        _block(f"The look-up of {_text(host)}")


def _check_reverse(host: Any) -> None:
    """Check an address before its name is looked up."""
    host = host[0] if isinstance(host, tuple) and host else host
    if not _is_here(host):
        _block(f"The look-up of {_text(host)}")


_EVENTS: dict[str, Callable[..., None]] = {
    "socket.connect": _check_address,
    "socket.sendto": _check_address,
    "socket.sendmsg": _check_address,
    "socket.getaddrinfo": _check_look_up,
    "socket.gethostbyname": _check_look_up,
    "socket.gethostbyaddr": _check_reverse,
    "socket.getnameinfo": _check_reverse,
}


def _is_here(host: Any) -> bool:
    """Return True if a host is this machine by its loopback address or by its name."""
    if host is None or (address := _number(host)) is None:
        name = _text(host or "")
        return name in _NAMES or name.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _number(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host's address if it is written as numbers."""
    try:
        return ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return None


def _text(host: Any) -> str:
    text = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
    return text.lower().rstrip(".")


def _block(attempt: str) -> NoReturn:
    raise NetworkBlocked(
        f"{attempt} was refused: {VARIABLE} is set, so Python reaches only this machine.",
        "Replay a model's answers from a cassette, read other data from files, or unset it.",
    )
