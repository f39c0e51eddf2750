"""The table of file formats of a report. To add one: write vlang/formats/x.py, add its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from vlang.formats import json
from vlang.report import Report

FORMATS: Mapping[str, Callable[[Sequence[Report], bool], str]] = MappingProxyType({"json": json.render})
