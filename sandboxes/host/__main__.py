"""`python -m sandboxes.host [--port N] [--state DIR] ...` serves, `... sweep --state DIR` cleans up."""

import argparse
import logging
import sys
from pathlib import Path

from .server import serve, sweep
from .settings import HostError, Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of both verbs; defaults are those of `Settings`."""
    parser.add_argument(
        "--state", type=Path, default=Path("state/host"), help="folder for sandboxes, records and the API key"
    )
    parser.add_argument(
        "--port", type=int, default=Settings.port, help="port on the loopback address; 0 takes a free one"
    )
    parser.add_argument("--pool", type=int, default=Settings.pool, help="sandboxes kept started for the next creates")
    parser.add_argument("--disk-mb", type=int, default=Settings.disk_mb, help="size of a sandbox's disk in MiB")
    parser.add_argument("--pids", type=int, default=Settings.pids, help="most processes in a sandbox")
    parser.add_argument(
        "--sample-seconds", type=float, default=Settings.sample_seconds, help="time between metrics samples"
    )
    parser.add_argument(
        "--memory-grace", type=float, default=Settings.memory_grace,
        help="seconds that a sandbox lives on when its memory was not enough",
    )  # fmt: skip
    parser.add_argument(
        "--tools", type=Path, metavar="DIR", help="folder of programs that every sandbox sees, read-only, at /opt/tools"
    )
    parser.add_argument(
        "--lend", type=Path, metavar="DIR", help="folder below which folders may be shown, read-only, to a sandbox"
    )
    parser.add_argument(
        "--allow-private",
        action="append",
        default=[],
        metavar="HOST|RANGE[:PORT]",
        help="loopback or private destination that sandboxes may reach",
    )
    parser.add_argument("--kill-on-exit", action="store_true", help="end all sandboxes when the host stops")


def read_settings(options: argparse.Namespace) -> Settings:
    return Settings(
        state=options.state.absolute(),
        port=options.port,
        pool=options.pool,
        disk_mb=options.disk_mb,
        pids=options.pids,
        sample_seconds=options.sample_seconds,
        memory_grace=options.memory_grace,
        tools=options.tools.absolute() if options.tools else None,
        lend=options.lend.absolute() if options.lend else None,
        allow_private=tuple(options.allow_private),
        kill_on_exit=options.kill_on_exit,
    )


def main(words: list[str]) -> int:
    """Exit code 0, or 2 with one sentence on stderr when the host can't run here."""
    parser = argparse.ArgumentParser(prog="sandboxes.host", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("serve", "sweep"), default="serve")
    add_options(parser)
    options = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if options.verb == "sweep":
            sys.stdout.write(f"{sweep(read_settings(options))} sandboxes ended and removed\n")
        else:
            serve(read_settings(options))
    except HostError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
