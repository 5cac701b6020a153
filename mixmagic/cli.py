"""The `mixmagic` command: the demo, the embedded model's weights, the doctor, the spend."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

import mixmagic
from mixmagic.core import terminal
from mixmagic.errors import MixmagicError


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status.

    That is 0, 1 on trouble, 130 after Ctrl-C, 141 where nobody reads on, as `head` does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors=terminal.ERRORS)
    options = _parser().parse_args(words)
    try:
        status = int(options.run(options))
        print(end="", flush=True)
    except MixmagicError as error:
        print(*error._render_traceback_(), sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What is still to be written goes nowhere, so that the interpreter's end is silent, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mixmagic", description="Talk to language models from a notebook."
    )
    parser.add_argument("--version", action="version", version=mixmagic.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="run the quickstart notebook on the embedded model")
    demo.add_argument("--lab", action="store_true", help="open it in JupyterLab instead")
    demo.add_argument(
        "--dir", type=Path, default=Path("mixmagic-demo"), help="where to leave it (%(default)s)"
    )
    demo.set_defaults(run=_demo)
    local = commands.add_parser("local", help="the embedded model")
    install = local.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "install", help="fetch its weights (98 MB) ahead of time"
    )
    install.set_defaults(run=_install)
    doctor = commands.add_parser("doctor", help="check that everything is in place")
    doctor.set_defaults(run=_doctor)
    spend = commands.add_parser("spend", help="what calls have cost, this month")
    period = spend.add_mutually_exclusive_group()
    for name in ("today", "month", "all"):
        period.add_argument(f"--{name}", dest="period", action="store_const", const=name)
    spend.add_argument(
        "--by",
        choices=("model", "day", "notebook", "status"),
        help="what is summed up (model)",
    )
    period.add_argument(
        "--resolve", nargs="*", metavar="NUMBER DOLLARS", help="list lost calls, or settle one"
    )
    spend.add_argument("--csv", type=Path, metavar="FILE", help="write it to a file instead")
    spend.set_defaults(run=_spend, period="month", refuse=spend.error)
    return parser


def _install(options: argparse.Namespace) -> int:
    """Fetch the embedded model's weights."""
    print(install_weights())
    return 0


def install_weights() -> Path:
    """Fetch the embedded model's weights unless they are there; on a terminal, with a bar."""
    from mixmagic.backends.local import weights

    session = mixmagic.session()
    env = session.backends.access.environment()
    fetching, drawn = weights.fetch(session.settings.cache_dir, env), False
    while True:
        try:
            done = next(fetching)
        except StopIteration as end:
            if drawn:
                print(f"\rThe embedded model: {weights.bar(1)}", file=sys.stderr)
            return Path(end.value)
        if not sys.stderr.isatty():
            continue
        drawn = True
        print(f"\rThe embedded model: {weights.bar(done)}", end="", flush=True, file=sys.stderr)


def _demo(options: argparse.Namespace) -> int:
    """Run the quickstart notebook."""
    from mixmagic.commands import demo

    install_weights()
    env = mixmagic.session().backends.access.environment()
    return demo.lab(options.dir, env) if options.lab else demo.run(options.dir, env)


def _doctor(options: argparse.Namespace) -> int:
    """Check that everything is in place."""
    checks = mixmagic.session().doctor()
    for check in checks:
        print(f"{check.mark:<3} {check.name}: {check.detail}")
    return 1 if any(check.ok is False for check in checks) else 0


def _spend(options: argparse.Namespace) -> int:
    """Show what calls have cost: of this month where no period is named, for a shell has none."""
    if options.resolve is not None:
        if options.by or options.csv:
            options.refuse("--by and --csv are for sums")
        from mixmagic.commands.spend import resolve

        print(resolve(mixmagic.session(), options.resolve))
        return 0
    spend = mixmagic.spend(options.period, options.by or "model")
    if options.csv is None:
        print(spend)
    else:
        spend.to_csv(options.csv)
        rows = "1 row is" if len(spend) == 1 else f"{len(spend)} rows are"
        print(f"{rows} in {options.csv}.")
    return 0
