"""A video's packets, listed without decoding: which frame comes when, and where a decoder must start to reach it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class PacketIndex:
    """The packets of one video stream.

    A *position* counts packets in decoding order; a *frame number* counts shown frames in presentation order. Times are
    in the stream's time base. `add` every packet, then `seal`.
    """

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    key_positions: list[int] = field(default_factory=list)
    discarded: set[int] = field(default_factory=set)
    frame_pts: list[int] = field(default_factory=list, init=False)
    _order: list[int] = field(default_factory=list, init=False)
    _sorted_pts: list[int] = field(default_factory=list, init=False)
    _frame_positions: list[int] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        """How many packets there are."""
        return len(self.pts)

    def add(self, *, pts: int | None, dts: int | None, is_keyframe: bool, is_discard: bool) -> None:
        """Appends the next packet in decoding order."""
        position = len(self.pts)
        self.pts.append(pts)
        self.dts.append(dts)
        if is_keyframe:
            self.key_positions.append(position)
        if is_discard:
            self.discarded.add(position)

    def seal(self) -> str | None:
        """Sorts the packets by presentation time.

        Returns:
            None, or why the index cannot tell which packet holds which frame; then only decoding from the start can.
        """
        times = [time for time in self.pts if time is not None]
        if len(times) < len(self.pts):
            return f"{len(self.pts) - len(times)} of {len(self.pts)} packets have no presentation time"
        if len(set(times)) < len(times):
            return f"{len(times) - len(set(times))} packets repeat a presentation time"
        if not self.key_positions or self.key_positions[0] != 0:
            return "the first packet is no key frame"
        self._order = sorted(range(len(times)), key=times.__getitem__)
        self._sorted_pts = [times[position] for position in self._order]
        self._frame_positions = [position for position in self._order if position not in self.discarded]
        self.frame_pts = [times[position] for position in self._frame_positions]
        if self.frame_pts and self.frame_pts[0] < times[0]:
            return "frames are shown before the first key frame"  # a decoder drops them, but not every decoder
        return None

    def frame_at(self, pts: int | None) -> int | None:
        """The number of the frame shown at a time, None where no frame is."""
        return _find(self.frame_pts, pts)

    def position_at(self, pts: int | None) -> int | None:
        """The position of the packet with a presentation time, None where there is no such packet."""
        place = _find(self._sorted_pts, pts)
        return None if place is None else self._order[place]

    def start_for(self, frame: int) -> int:
        """The position of the key frame from which a decoder yields a frame exactly.

        It is the last key frame that is decoded and shown no later than the frame. Frames that are decoded after a key
        frame but shown before it (an open group of pictures) lean on the group before it.
        """
        place = bisect_right(self.key_positions, self._frame_positions[frame]) - 1
        shown = self.frame_pts[frame]
        while place > 0:
            key_pts = self.pts[self.key_positions[place]]
            if key_pts is not None and key_pts <= shown:
                break
            place -= 1
        return self.key_positions[place]


def _find(times: Sequence[int], time: int | None) -> int | None:
    if time is None:
        return None
    place = bisect_left(times, time)
    return place if place < len(times) and times[place] == time else None
