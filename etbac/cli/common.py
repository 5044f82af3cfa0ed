"""What all commands share: options, output, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypedDict, TypeVar

import click

from etbac.errors import EtbacError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")
INTERRUPTED = 130

engine_dir_option = click.option(
    "--engine-dir",
    type=click.Path(path_type=Path),
    default=Path("engines"),
    show_default=True,
    help="The engine directory.",
)

precision_option = click.option(
    "--precision",
    type=float,
    default=0.9968,
    show_default=True,
    help="The chain's metric ÷ the full model's that must be kept.",
)
metric_option = click.option(
    "--metric",
    help="accuracy, pckh, pixel-accuracy; f1, mcc, miou, pearson, which are shown by a bootstrap and not certified; "
    "or agreement, which needs no labels.  [default: the checkpoint's]",
)
fast_at_option = click.option(
    "--batch-size", type=int, help="The batch size to be fast at.  [default: 16, or the chain's largest]"
)
uncertified_option = click.option(
    "--uncertified", is_flag=True, help="Where it cannot be certified, write the search set's plan all the same."
)


def demand_options(command: Callable[P, R]) -> Callable[P, R]:
    """What a plan is certified by and must keep, as `etbac.plan` takes it: a keyword argument for each option."""
    options = [
        click.option(
            "--delta", type=float, default=0.05, show_default=True, help="Level: 0.05 certifies at 95% confidence."
        ),
        click.option(
            "--test",
            type=click.Choice(["betting", "exact"]),
            default="betting",
            show_default=True,
            help="What certifies it: betting counts what the chain repairs, exact only what it loses.",
        ),
        click.option(
            "--max-latency",
            type=float,
            metavar="MS",
            help="What the predicted p99 of a batch may be.  [default: the full model's, from batches of 8 on]",
        ),
        click.option(
            "--min-class-precision", type=float, help="The precision that every class of the search set must keep."
        ),
        click.option(
            "--max-head-memory",
            type=float,
            metavar="MB",
            help="The most that the weights of the chosen exits' heads may take, in a chain built with these alone.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class Engines(TypedDict):
    """Which engines of a directory to use, as `etbac.load` takes it."""

    backend: str | None
    dtype: str | None
    trust: bool


def which_engines(command: Callable[..., R]) -> Callable[..., R]:
    """Options that say which engines of the directory to use, passed on as one `engines`."""

    @click.option("--backend", help="Engines of this backend.  [default: those in force]")
    @click.option("--dtype", help="Engines in this number format: fp32, fp16, bf16, int8.  [default: those in force]")
    @click.option("--trust", is_flag=True, help="Use engines that somebody else built; engines are code.")
    @functools.wraps(command)
    def wrapped(*args: Any, backend: str | None, dtype: str | None, trust: bool, **kwargs: Any) -> R:
        engines = Engines(backend=backend, dtype=dtype, trust=trust)
        return command(*args, engines=engines, **kwargs)

    return wrapped


@dataclass(frozen=True)
class Output:
    """Where a command's answer goes: text for people, or one JSON object on stdout; notes always go to stderr."""

    as_json: bool

    def note(self, message: str) -> None:
        """One line of information on stderr."""
        click.echo(message, err=True)

    def result(self, payload: dict[str, Any], *text: RenderableType) -> None:
        """The command's answer: `payload` under --json, the texts and tables otherwise."""
        if self.as_json:
            click.echo(json.dumps(payload, default=_plain, allow_nan=False))
            return
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        for part in text:
            console.print(part, soft_wrap=isinstance(part, str), markup=False)

    @contextmanager
    def bars(self) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
        """Progress bars on stderr, one for each (name, whole) asked for; each is told what has been done since."""
        with self.progress() as progress:

            def bar(name: str, whole: int) -> Callable[[int], None]:
                task = progress.add_task(name, total=whole)
                return lambda done: progress.advance(task, done)

            yield bar

    def progress(self) -> Progress:
        """A progress bar on stderr, shown only on a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def standard(command: Callable[P, R]) -> Callable[..., R]:
    """Add --json and --debug; pass the command an `output`; turn an EtbacError into one sentence and its exit code."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, notes on stderr.")
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, debug: bool, **kwargs: Any) -> R:
        try:
            return command(*args, output=Output(as_json), **kwargs)  # type: ignore[arg-type]
        except click.ClickException:
            raise
        except KeyboardInterrupt:
            _fail("interrupted; what was in place before is unchanged", INTERRUPTED)
        except EtbacError as error:
            if debug:
                raise
            _fail(str(error), error.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            if debug:
                raise
            _fail(_explain(error), 1)
        except Exception as error:
            if debug:
                raise
            _fail(f"unexpected {type(error).__name__}: {error}. Run again with --debug and report what it prints", 1)

    return wrapped


def parse_ids(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`3,7,12` -> (3, 7, 12): positive, in order, each once; a usage error otherwise."""
    if text is None:
        return None
    try:
        ids = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of exit ids; write them like 3,7,12") from None
    if any(exit_id < 1 for exit_id in ids):
        raise click.BadParameter(f"{text!r}: exit ids start at 1")
    repeated = sorted({exit_id for exit_id in ids if ids.count(exit_id) > 1})
    if repeated:
        raise click.BadParameter(f"{text!r} names exit {repeated[0]} more than once; name each once")
    if list(ids) != sorted(ids):
        raise click.BadParameter(f"{text!r} is out of order; write {','.join(map(str, sorted(ids)))}")
    return ids


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"etbac: {message}", err=True)
    sys.exit(code)


def _explain(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{(error.strerror or str(error)).lower()}{where}. Nothing that was in place before has changed"


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
