"""BackgroundWidget: a PictureWidget that computes in a thread, one piece of work at a time."""

import threading
from collections.abc import Callable
from typing import TypeVar

from .base import PictureWidget

Prepared = TypeVar("Prepared")


class BackgroundWidget(PictureWidget):
    """While it works, cells can be run. A subclass says in ``show_busy`` how that looks."""

    _thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether it is working."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return when it does not work any more."""
        if self._thread is not None:
            self._thread.join()

    def show_busy(self, busy: bool) -> None:
        raise NotImplementedError

    def begin(
        self,
        prepare: Callable[[], Prepared],
        work: Callable[[Prepared], object],
        finish: Callable[[Exception | None], object],
    ) -> None:
        """Prepare here, work in the thread, then finish there.

        Args:
            prepare: raises ValueError for bad input, which becomes the message; then nothing runs.
            work: gets what ``prepare`` returned.
            finish: gets what ``work`` raised, or None; a ValueError in it becomes the message.
        """
        prepared: list[Prepared] = []
        self.attempt(lambda: prepared.append(prepare()))
        # Only now: attempt() clears the message, also one of a thread that has ended already.
        if prepared:
            self.show_busy(True)
            self._thread = threading.Thread(
                target=self._work_aside, args=(prepared[0], work, finish), daemon=True
            )
            self._thread.start()

    def _work_aside(self, prepared, work, finish) -> None:
        failed = None
        try:
            work(prepared)
        except Exception as error:  # a thread's traceback would be seen by nobody
            failed = ValueError(f"The model failed: {type(error).__name__}: {error}")
        self.show_busy(False)
        self.attempt(lambda: finish(failed))
