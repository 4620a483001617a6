"""How much do frozen features know of your classes? A linear classifier of scikit-learn on video embeddings.

python examples/linear_probe.py FOLDER [--model ila_vit_b16.openai]

FOLDER has a folder for every class. Every fifth video of it is for testing, the others are for training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ila_models import FeatureExtractor, Features, read_annotations


def main() -> None:
    """Extracts, fits, and prints the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="ila_vit_b16.openai")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    options = parser.parse_args()
    videos = read_annotations(options.folder)
    label_of = dict(zip(map(str, (videos.root / path for path in videos.paths)), videos.labels, strict=True))
    vectors: dict[str, np.ndarray] = {}
    extractor = FeatureExtractor(options.model, levels="clip")
    for result in extractor.iter(label_of, num_workers=options.workers, on_error="yield"):
        if isinstance(result, Features):
            vectors[result.source] = result["clip"][0].numpy()
        else:
            print(f"left out: {result.reason}")
    names = sorted(vectors)
    features = np.stack([vectors[name] for name in names])
    labels = np.array([label_of[name] for name in names])
    is_test = np.arange(len(names)) % 5 == 0
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(features[~is_test], labels[~is_test])
    accuracy = probe.score(features[is_test], labels[is_test])
    print(f"{accuracy:.1%} of {is_test.sum()} videos right, trained on {(~is_test).sum()}")


if __name__ == "__main__":
    main()
