"""Perturbation sets: what moves."""

from __future__ import annotations

SPACES = ("input", "embedding")
