"""The program ``ila-models``: one sub-command per file of this folder."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from huggingface_hub.utils import disable_progress_bars

from ..version import __version__
from . import (
    app,
    catalogue,
    convert,
    dataset,
    demo,
    doctor,
    download,
    evaluate,
    export,
    extract,
    predict,
    publish,
    space,
    train,
    verify,
    visualize,
)

COMMANDS = (
    demo,
    app,
    doctor,
    predict,
    visualize,
    extract,
    evaluate,
    train,
    catalogue,
    download,
    verify,
    convert,
    export,
    dataset,
    space,
    publish,
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of whole command lines; a parsed one holds the function ``run`` of its command."""
    parser = argparse.ArgumentParser(
        prog="ila-models",
        description="Video recognition with ILA models: predict, extract features, evaluate, train; look up, fetch,"
        " check, convert, publish checkpoints.",
        epilog="ila-models COMMAND --help explains a command and shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"ila-models {__version__}")
    parser.add_argument("--quiet", action="store_true", help="say nothing but results and errors")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line, or leaves with status 2 where it is not understood.

    argparse takes positional arguments from one place only, and calls those behind the next option unrecognized; fields
    in place of a configuration's are taken wherever they stand.
    """
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    fields: list[str] | None = getattr(options, "overrides", None)
    wrong = [each for each in rest if fields is None or each.startswith("-") or "=" not in each]
    if wrong:
        fields_too = "" if fields is None else " (fields of the configuration are written SECTION.FIELD=VALUE)"
        parser.error(f"unrecognized arguments: {' '.join(wrong)}{fields_too}")
    if fields is not None:
        fields += rest
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status: 0 done, 1 failed, 2 not understood."""
    options = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name that the terminal cannot show must not end the run.
            stream.reconfigure(errors="backslashreplace")
    if options.quiet:
        disable_progress_bars()
    try:
        with _progress_to_stderr(logging.WARNING if options.quiet else logging.INFO):
            return options.run(options)
    except BrokenPipeError:
        # The reader of a pipe has what it wanted (`| head`). Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, RuntimeError) as error:
        # Errors of this package are written for people. Anything else is a bug and keeps its traceback.
        sys.stderr.write(f"ila-models: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("ila-models: interrupted\n")
        return 130


@contextlib.contextmanager
def _progress_to_stderr(level: int) -> Iterator[None]:
    """Shows what this package logs. Other libraries' loggers are left alone: some have handlers of their own."""
    logger = logging.getLogger("ila_models")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
