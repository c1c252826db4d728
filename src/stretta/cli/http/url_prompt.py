"""The prompt for URLs: with history, completion and Ctrl-R on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stretta.cli.ui.prompt import ask_line
from stretta.cli.ui.terminal import is_terminal
from stretta.http.message.url import without_password
from stretta.private_file import open_private

__all__ = ["url_asker"]


def url_asker(prompt: str) -> Callable[[], str | None]:
    """Return a function that reads a line from the user; it returns None at the end of input.

    On a terminal, earlier URLs are offered (up, Tab, Ctrl-R), also those of earlier sessions. URLs
    with a user or password are not stored.
    """
    plain = not (is_terminal(sys.stdin) and is_terminal(sys.stdout))
    if plain or os.environ.get("TERM") in {None, "", "dumb"}:
        return lambda: ask_line(prompt)
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")  # some terminals do not report the cursor
    from prompt_toolkit import PromptSession  # noqa: PLC0415 - on a terminal only
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory  # noqa: PLC0415
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion  # noqa: PLC0415
    from prompt_toolkit.document import Document  # noqa: PLC0415
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory  # noqa: PLC0415

    class Urls(FileHistory):
        def store_string(self, string: str) -> None:
            if string.strip() and without_password(string) == string:
                with suppress(OSError):  # kept for this session only
                    super().store_string(string)

    class Earlier(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> list[Completion]:
            typed = document.text_before_cursor
            seen = dict.fromkeys(reversed(history.get_strings()))
            return [Completion(url, -len(typed)) for url in seen if typed in url and url.strip()]

    path = _history_path()
    history: History = InMemoryHistory() if path is None else Urls(str(path))
    session: PromptSession[str] = PromptSession(
        prompt,
        history=history,
        completer=Earlier(),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
    )

    def ask() -> str | None:
        try:
            return session.prompt()
        except EOFError:
            return None

    return ask


def _history_path() -> Path | None:
    """Return the path of the history (XDG Base Directory), None if it cannot be written."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "stretta" / "urls"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(open_private(path))
    except OSError:
        return None
    return path
