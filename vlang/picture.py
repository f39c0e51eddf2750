"""Pictures: how the numbers of one frame stand in channels, rows and columns, and what is left of them behind a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlang.words.layers import LAYERS

Pair = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """Numbers in torch's order: channel by channel, each row by row."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Numbers of the frame."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"

    def through(self, channels: int, window: Window) -> Picture:
        """What a window makes of it. Raises ValueError where it does not fit once."""
        found = Picture(channels, *(len(window.starts(axis, size)) for axis, size in enumerate((self.height, self.width))))
        if found.size < 1:
            raise ValueError(f"no window of {window.size[0]} x {window.size[1]} fits into a picture of {self}")
        return found


@dataclass(frozen=True)
class Window:
    """Rows and columns that are seen at once, each pair by axis (of rows, of columns)."""

    size: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @classmethod
    def said(cls, settings: Mapping[str, Any], size: Pair | None = None) -> Window:
        """What a layer's settings say; size: of its weights, where it has some."""
        size = size or pair(settings["size"])
        stride = pair(settings["stride"])
        return cls(size, stride if min(stride) else size, pair(settings.get("padding", 0)), pair(settings.get("dilation", 1)))

    def starts(self, axis: int, room: int) -> range:
        """Where windows begin along an axis of so many places."""
        reach = self.dilation[axis] * (self.size[axis] - 1) + 1
        return range(-self.padding[axis], room + self.padding[axis] - reach + 1, self.stride[axis])

    def taps(self) -> list[Pair]:
        """The places of a window, row by row."""
        return [(i, j) for i in range(self.size[0]) for j in range(self.size[1])]


def pair(value: Any) -> Pair:
    """One number for both axes, or one for each."""
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


def reshaped(settings: Mapping[str, Any]) -> Picture:
    """The picture that `reshape` says."""
    return Picture(*(int(settings[key]) for key in ("channels", "height", "width")))


def behind(word: str, settings: Mapping[str, Any], read: tuple[Picture | None, ...], weight: tuple[int, ...] = ()) -> Picture | None:
    """The picture that a layer gives of those that it reads, None where it gives none; weight: the shape of its weights.

    Raises ValueError where it needs another.
    """
    first = read[0]
    if word == "reshape":
        return reshaped(settings)
    if word in LAYERS and LAYERS[word].picture == "reads":
        if first is None:
            raise ValueError(f"{word} reads a picture: write reshape(channels = 1, height = 28, width = 28) in front, with its sizes")
        if not weight:
            return first.through(first.channels, Window.said(settings))
        if weight[1] * settings["groups"] != first.channels:
            raise ValueError(f"conv2d reads {weight[1] * settings['groups']} channels, it is given a picture of {first}")
        return first.through(weight[0], Window.said(settings, (weight[2], weight[3])))
    if word in ("concat", "add") and any(x is not None for x in read):
        pictures = [x for x in read if x is not None]
        alike = {(x.height, x.width, *([x.channels] if word == "add" else [])) for x in pictures}
        if len(pictures) < len(read) or len(alike) > 1:
            raise ValueError(f"{word} joins {' and '.join('no picture' if x is None else str(x) for x in read)}")
        return pictures[0] if word == "add" else Picture(sum(x.channels for x in pictures), pictures[0].height, pictures[0].width)
    return first if word in LAYERS and LAYERS[word].picture == "keeps" else None
