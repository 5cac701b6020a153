"""The guard of the network: in fresh processes, and in real kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from server import Answer, together

BLOCKED = {"MIXMAGIC_BLOCK_NETWORK": "1"}
REFUSED = "was refused: MIXMAGIC_BLOCK_NETWORK is set, so Python reaches only this machine."
HINT = "Hint: Replay a model's answers from a cassette, read other data from files, or unset it."
TRY = """
import errno, json, os, socket, sys
from socket import getaddrinfo as imported_before
from mixmagic.backends.http import guard
guard.install()
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
def tcp(family=socket.AF_INET):
    return socket.socket(family)
def udp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_DGRAM)
said = {{}}
for name, code in {ways!r}.items():
    try:
        said[name] = f"passed {{eval(code)}}"
    except Exception as error:
        said[name] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(said))
"""
OUTSIDE = {
    "name": "tcp().connect(('host.invalid', 80))",
    "name as bytes": "tcp().connect((b'host.invalid', 80))",
    "name, without an exception": "tcp().connect_ex(('host.invalid', 80))",
    "IPv4": "tcp().connect(('192.0.2.1', 80))",
    "IPv4, without an exception": "tcp().connect_ex(('192.0.2.1', 80))",
    "IPv4 that only looks like loopback": "tcp().connect(('128.0.0.1', 80))",
    "IPv6": "tcp(socket.AF_INET6).connect(('2001:db8::1', 80))",
    "IPv4 in IPv6": "tcp(socket.AF_INET6).connect(('::ffff:192.0.2.1', 80))",
    "datagram": "udp().sendto(b'x', ('192.0.2.1', 53))",
    "datagram with flags": "udp().sendto(b'x', 0, ('192.0.2.1', 53))",
    "datagram to a name": "udp().sendto(b'x', ('host.invalid', 53))",
    "message": "udp().sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
    "the C type": "__import__('_socket').socket().connect(('192.0.2.1', 80))",
    "create_connection": "socket.create_connection(('host.invalid', 80))",
    "getaddrinfo": "socket.getaddrinfo('host.invalid', 80)",
    "getaddrinfo, imported before": "imported_before('host.invalid', 80)",
    "a name that ends like localhost": "socket.getaddrinfo('notlocalhost', 80)",
    "gethostbyname": "socket.gethostbyname('host.invalid')",
    "gethostbyname_ex": "socket.gethostbyname_ex('host.invalid')",
    "gethostbyaddr": "socket.gethostbyaddr('192.0.2.1')",
    "getnameinfo": "socket.getnameinfo(('192.0.2.1', 80), 0)",
    "urllib": "__import__('urllib.request').request.urlopen('http://host.invalid/')",
    "http.client": "__import__('http.client').client.HTTPConnection('192.0.2.1').connect()",
    "httpx": "__import__('httpx').get('http://host.invalid/')",
    "requests": "__import__('requests').get('http://host.invalid/')",
    "TLS": "__import__('ssl').SSLContext().wrap_socket(tcp()).connect(('192.0.2.1', 443))",
    "asyncio": "__import__('asyncio').run(__import__('asyncio').open_connection('h.invalid', 80))",
}
INSIDE = {
    "loopback": "tcp().connect(('127.0.0.1', port))",
    "another loopback": "tcp().connect_ex(('127.9.9.9', port)) == errno.ECONNREFUSED",
    "localhost": "tcp().connect(('localhost', port))",
    "IPv6 loopback": "tcp(socket.AF_INET6).connect_ex(('::1', port)) != 0",
    "IPv4 loopback in IPv6": "tcp(socket.AF_INET6).connect_ex(('::ffff:127.0.0.1', port)) == 0",
    "datagram to loopback": "udp().sendto(b'x', ('127.0.0.1', 9))",
    "socket pair": "socket.socketpair()",
    "look-up of localhost": "socket.getaddrinfo('LOCALHOST', 80)",
    "look-up of the machine's own name": "socket.getfqdn()",
    "number": "socket.getaddrinfo('192.0.2.1', 80)",
    "bind": "udp().bind(('', 0))",
    "no proxy": "__import__('urllib.request').request.getproxies() == {}",
}


def python(code: str, **env: str) -> str:
    """Run a Python of this environment; return its output and its errors."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **env},
    )
    return f"{ran.stdout.strip()}\n{ran.stderr}".strip()


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """The result of each way, inside and outside."""
    code = TRY.format(ways={**OUTSIDE, **INSIDE})
    output = python(code, HTTPS_PROXY="http://127.0.0.1:9", **BLOCKED)
    return json.loads(output.splitlines()[0])  # libraries may warn


@pytest.mark.parametrize("way", OUTSIDE)
def test_no_way_leads_to_another_machine(said, way):
    """The error shows that no name was looked up first: a look-up would fail with another one."""
    assert said[way].startswith("NetworkBlocked: ")
    assert said[way].endswith(REFUSED)


@pytest.mark.parametrize("way", INSIDE)
def test_this_machine_is_reached(said, way):
    assert said[way].startswith("passed ")
    assert not said[way].endswith("False")


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_it_is_off_unless_it_is_switched_on(value):
    ways = {"connect": "socket.socket.connect is __import__('_socket').socket.connect"}
    said = json.loads(python(TRY.format(ways=ways), MIXMAGIC_BLOCK_NETWORK=value))
    assert said == {"connect": "passed True"}


def test_every_python_that_a_guarded_one_starts_is_guarded():
    """In a subprocess of a subprocess, and in a worker that is spawned."""
    look_up = "import socket; socket.getaddrinfo('host.invalid', 80)"
    deep = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look_up!r}], timeout=60)"
    )
    code = f"""
from mixmagic.backends.http import guard
guard.install()
import concurrent.futures, multiprocessing, socket, subprocess, sys
subprocess.run([sys.executable, "-c", {deep!r}], timeout=60)
with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
    print(type(pool.submit(socket.getaddrinfo, "host.invalid", 80).exception(60)).__name__)
"""
    said = python(code, **BLOCKED)
    assert said.startswith("NetworkBlocked")
    assert f"mixmagic.errors.NetworkBlocked: The look-up of host.invalid {REFUSED}" in said


def test_a_python_without_mixmagic_is_guarded():
    """Such as one of another environment; `-S` leaves this one without packages."""
    from mixmagic.backends.http import guard

    code = f"""
try:
    import mixmagic
except ImportError:
    print("alone")
import sys
sys.path.insert(0, {guard.FOLDER!r})
import sitecustomize, socket
socket.getaddrinfo("host.invalid", 80)
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd="/",
        env={**os.environ, **BLOCKED},
    )
    assert ran.stdout == "alone\n"
    assert ran.stderr.splitlines()[-2].endswith(REFUSED)


def test_the_sitecustomize_of_the_environment_runs_too(tmp_path):
    from mixmagic.backends.http import guard

    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.own = __file__\n")
    path = os.pathsep.join([guard.FOLDER, str(tmp_path)])
    code = "import sitecustomize, socket, sys\n"
    code += "print(sys.own == sitecustomize.__file__, 'connect' in vars(socket.socket))"
    assert python(code, PYTHONPATH=path, **BLOCKED) == "True True"
    assert python(code, PYTHONPATH=path, MIXMAGIC_BLOCK_NETWORK="0") == "True False"


@pytest.mark.kernel
def test_a_guarded_kernel_reaches_a_provider_on_this_machine_only(start_kernel, server):
    server.plan = [Answer(together("Hello", " there"))]
    kernel = start_kernel(
        TOGETHER_BASE_URL=server.url, TOGETHER_API_KEY="canary-key-4711", **BLOCKED
    )
    assert "Hello there" in kernel.run("%mixtral -m together:8x7b Hi").text
    show = "import mixmagic; mixmagic.spend().total.cost"
    spent = kernel.run(show).text
    kernel.run("import os; os.environ['TOGETHER_BASE_URL'] = 'https://together.invalid/v1'")
    ran = kernel.run("%mixtral -m together:8x7b Hi")
    assert ran.traceback == [
        f"NetworkBlocked: The look-up of together.invalid {REFUSED}",
        HINT,
    ]
    assert len(server.received) == 1
    assert kernel.run(show).text == spent


@pytest.mark.kernel
def test_other_libraries_show_the_two_lines_too(start_kernel):
    kernel = start_kernel(**BLOCKED)
    for code, attempt in {
        "urllib.request.urlopen('https://data.invalid/x.csv')": "The look-up of data.invalid",
        "pandas.read_csv('https://data.invalid/x.csv')": "The look-up of data.invalid",
        "socket.create_connection(('192.0.2.1', 80))": "A connection to 192.0.2.1",
    }.items():
        ran = kernel.run(f"import pandas, socket, urllib.request\n{code}")
        assert [line.partition(" was ")[0] for line in ran.traceback] == [
            f"NetworkBlocked: {attempt}",
            HINT,
        ]


@pytest.mark.kernel
def test_without_the_variable_nothing_of_it_is_imported(start_kernel):
    kernel = start_kernel()
    code = "import socket, sys; print([name for name in sys.modules if name.endswith('guard')], "
    assert kernel.run(code + "'connect' in vars(socket.socket))").text == "[] False\n"
