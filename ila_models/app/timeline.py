"""The likeliest classes over time, as HTML that takes the page's colours and any width."""

from __future__ import annotations

from html import escape

from ..visualize import WindowPredictions

TIMELINE_STYLE = """
.timeline { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 6px 10px; align-items: end; }
.timeline .name { font-size: var(--text-sm); text-align: right; overflow-wrap: anywhere; }
.timeline .bars { display: flex; gap: 2px; height: 34px; border-bottom: 1px solid var(--border-color-primary); }
.timeline .window { flex: 1; display: flex; align-items: end; background: rgb(128 128 128 / 0.08); }
.timeline .bar { width: 100%; background: #9ca3af; }
.timeline .bar.likeliest { background: #3b82f6; }
.timeline .times { display: flex; justify-content: space-between; font-size: var(--text-sm); opacity: 0.8; }
.caption { font-size: var(--text-sm); opacity: 0.8; margin-top: 6px; }
"""


def timeline_html(predictions: WindowPredictions, *, topk: int) -> str:
    """Draws a row of bars for each of the classes with the highest peaks; a bar is a window, its height a probability.

    Args:
        predictions: Windows end to end.
        topk: How many classes.
    """
    best = predictions.probabilities.argmax(dim=1).tolist()
    spans = [f"{start:.1f} to {end:.1f} s" for start, end in predictions.spans.tolist()]
    rows = []
    for index in predictions.leading(topk):
        bars = [
            f'<div class="window" title="{span}: {probability:.0%}">'
            f'<div class="bar{" likeliest" if index == first else ""}" style="height:{probability:.1%}"></div></div>'
            for span, probability, first in zip(spans, predictions.probabilities[:, index].tolist(), best, strict=True)
        ]
        rows.append(
            f'<div class="name">{escape(predictions.labels[index])}</div><div class="bars">{"".join(bars)}</div>'
        )
    end = float(predictions.spans.max())
    times = f'<div></div><div class="times"><span>0 s</span><span>{end / 2:.1f} s</span><span>{end:.1f} s</span></div>'
    length = float(predictions.spans[0, 1] - predictions.spans[0, 0])
    caption = f"Bars are probabilities in {length:.3g} seconds of the video; blue where the class is the likeliest."
    return f'<div class="timeline">{"".join(rows)}{times}</div><p class="caption">{caption}</p>'
