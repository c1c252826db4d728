"""Running a server from the command."""

from __future__ import annotations

import click

from stretta.cli.typed import same_command
from stretta.cli.ui.gate import Loggers, use_loggers
from stretta.net.server.server import Server
from stretta.options.service import WorkerOptions

__all__ = ["run_server"]


def run_server(server: Server, processes: WorkerOptions) -> None:
    """Run a server until a signal ends it."""
    from stretta.net.server.log.writer import LogWriter, flush_all  # noqa: PLC0415 - servers only

    use_loggers(Loggers(LogWriter(1).write, LogWriter(2).write, flush_all))
    ctx = click.get_current_context()
    server.command = same_command(ctx.command_path, ctx.command.params, ctx.meta["words"])
    workers = processes.workers
    if workers == "auto":
        from stretta.net.server.workers import processors  # noqa: PLC0415 - only here

        workers = processors()
    server.run(workers=workers)
