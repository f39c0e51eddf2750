"""rspec-verify: a declarative language for certified robustness of recurrent networks.

    import vlang
    report = vlang.run("spec.rspec", params={"samples": 5})
    errors = vlang.check("rspec 1 ...")
    report = vlang.certify(model, inputs, frames="all", norm=2)

Nothing else is public (docs/python.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["certify", "check", "run"]

if TYPE_CHECKING:
    from vlang.api import certify, check, run


def __getattr__(name: str) -> Any:
    """Imported when it is used: what only reads the version needs no parser."""
    if name in __all__:
        from vlang import api

        return getattr(api, name)
    raise AttributeError(f"module 'vlang' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
