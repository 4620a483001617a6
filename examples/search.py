"""Which videos of a folder are most like this one? Nearest neighbours among video embeddings.

python examples/search.py FOLDER --query VIDEO [VIDEO ...] [--model ila_vit_b16.openai] [--top 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from ila_models import FeatureExtractor, Features
from ila_models.data.video_files import videos_below


def main() -> None:
    """Embeds the folder, then answers query by query."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--query", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="ila_vit_b16.openai")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    options = parser.parse_args()
    extractor = FeatureExtractor(options.model, levels="clip")
    paths = [options.folder / path for path in videos_below(options.folder)]
    names, vectors = [], []
    for result in extractor.iter(paths, num_workers=options.workers, on_error="yield"):
        if isinstance(result, Features):
            names.append(result.source)
            vectors.append(F.normalize(result["clip"][0], dim=0))
        else:
            print(f"left out: {result.reason}")
    index = torch.stack(vectors)  # [videos, E], of unit length: a product is a cosine
    for query in options.query:
        similarity = index @ F.normalize(extractor(query)["clip"][0], dim=0)
        best = similarity.topk(min(options.top, len(names)))
        print(query)
        for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            print(f"  {value:.3f}  {names[place]}")


if __name__ == "__main__":
    main()
