"""Steps of lowering, each done once for the same inputs, so that a mistake is told once however many queries rest on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vlang.text.diagnostics import Diagnostic, SpecError

T = TypeVar("T")


class Once:
    """Calls a step with hashable inputs. One that fails reports why the first time; every time it raises a SpecError that says nothing more."""

    def __init__(self, report: Callable[..., None]) -> None:
        self.report = report
        self._done: dict[tuple[Any, ...], Any] = {}
        self._failed: set[tuple[Any, ...]] = set()

    def __call__(self, step: Callable[..., T], *inputs: Any) -> T:
        key = (step, *inputs)
        if key not in self._done and key not in self._failed:
            try:
                self._done[key] = step(*inputs)
            except SpecError as e:
                self._failed.add(key)
                self.report(*e.diagnostics)
        if key in self._failed:
            raise SpecError()
        found: T = self._done[key]
        return found

    def every(self, *steps: tuple[Any, ...]) -> list[Any]:
        """The results of several steps (a step and its inputs each), all of them done even where some fail. Raises SpecError."""
        found = []
        for step, *inputs in steps:
            try:
                found.append(self(step, *inputs))
            except SpecError:
                continue
        if len(found) < len(steps):
            raise SpecError()
        return found

    def attempt(self, compose: Callable[[], T]) -> T | None:
        """What some steps make together, or None after reporting what was wrong: others can still be checked."""
        try:
            return compose()
        except SpecError as e:
            self.report(*e.diagnostics)
            return None


def refuse(condition: bool, error: Callable[..., Diagnostic], *details: Any) -> None:
    """A step that only checks. Raises SpecError."""
    if condition:
        raise SpecError(error(*details))
