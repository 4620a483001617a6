"""Draws the pictures of ``docs/visualize.md`` and of the README: ``python docs/draw_points.py``.

They show the checkpoint that comes with the package on a generated clip that it was not trained on. The clip was chosen
by eye among 600: the points of its block 1 go with the shape, which they do in few clips.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

import ila_models
from ila_models.data.motion import TEST_SEED, encode_clip, motion_clips
from ila_models.visualize import (
    THEMES,
    animate_points,
    capture_video,
    draw_contact_sheet,
    draw_rollout,
    draw_timeline,
    encode_gif,
)
from ila_models.visualize.video import as_png

SEED, CLIP = TEST_SEED + 1, 259
SHOWN_ALONE = 1
"""The block of the README's animation: the one whose points move most in this model."""
LONG = range(5)
"""Clips that are put end to end for the timeline."""
RATE = 8
"""Frames a second, as slow as the motion can be followed."""
WIDEST = 1200
"""Pixels, which keeps the pictures small."""


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures", help="folder for the pictures")
    draw(parser.parse_args().out)


def draw(folder: Path) -> None:
    """Writes the pictures into a folder."""
    model = ila_models.create_model("ila_vit_nano8", pretrained=True)
    clips, _ = motion_clips([CLIP], seed=SEED)
    capture = capture_video(model, encode_clip(clips[0], RATE))
    several, _ = motion_clips(LONG, seed=SEED)
    along = capture_video(model, encode_clip(several.flatten(0, 1), RATE), window=1.0, stride=0.5)
    assert along.predictions is not None, "the model has classes"
    for theme in THEMES:
        animation = encode_gif(animate_points(capture.clip, (SHOWN_ALONE,), theme=theme))
        (folder / f"points_{theme}.gif").write_bytes(animation)
        timeline = as_png(draw_timeline(along.predictions, along.clip, theme=theme))
        for name, picture in (
            ("contact_sheet", Image.fromarray(draw_contact_sheet(capture.clip, capture.blocks, theme=theme).pixels())),
            ("rollout", Image.fromarray(draw_rollout(capture.clip, theme=theme).pixels())),
            ("timeline", Image.open(io.BytesIO(timeline)).convert("RGB")),
        ):
            picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            picture.save(folder / f"visualize_{name}_{theme}.png", optimize=True)


if __name__ == "__main__":
    main()
