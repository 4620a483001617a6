"""Features for temporal action localisation: NAME.npy [windows, E] for every video, and when the windows are.

python examples/localisation_features.py FOLDER --out DIR [--window 2.0] [--stride 0.5] [--model ila_vit_b16.openai]

What ActivityNet-style methods (ActionFormer and others) read. windows.json tells for every video the seconds of each
window. Videos whose file is there already are left alone, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from ila_models import FeatureExtractor, Features
from ila_models.data.video_files import videos_below


def main() -> None:
    """Extracts what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="ila_vit_b16.openai")
    parser.add_argument("--window", type=float, default=2.0, help="seconds")
    parser.add_argument("--stride", type=float, default=0.5, help="seconds")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "windows.json"
    windows: dict[str, list[list[float]]] = json.loads(table.read_text()) if table.exists() else {}
    paths = [options.folder / path for path in videos_below(options.folder)]
    if repeated := [name for name, count in Counter(path.stem for path in paths).items() if count > 1]:
        raise SystemExit(f"several videos are called {', '.join(repeated)}: give folders one at a time")
    missing = [path for path in paths if path.stem not in windows]
    extractor = FeatureExtractor(options.model, levels="clip", window=options.window, stride=options.stride)
    for result in extractor.iter(missing, num_workers=options.workers, on_error="yield"):
        if not isinstance(result, Features):
            print(f"left out: {result.reason}")
            continue
        name = Path(result.source).stem
        np.save(options.out / f"{name}.npy", result["clip"].numpy())
        windows[name] = result.spans.tolist()
        unfinished = table.with_suffix(".unfinished")  # whole or not at all, and after the features
        unfinished.write_text(json.dumps(windows))
        unfinished.replace(table)
    print(f"{len(windows)} videos in {options.out}")


if __name__ == "__main__":
    main()
