"""Pictures out of the results, for pages of light and of dark background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from stored import read, results_of

TIMES = "\N{MULTIPLICATION SIGN}"
THEMES = {
    "light": {"ink": "#24292f", "muted": "#8c959f", "ours": "#0969da", "others": "#bf8700", "paper": "#ffffff"},
    "dark": {"ink": "#e6edf3", "muted": "#7d8590", "ours": "#4493f8", "others": "#d29922", "paper": "#0d1117"},
}


def new_figure(theme: dict[str, str], size: tuple[float, float]) -> tuple[Figure, Any]:
    """A figure of one pair of axes in a theme's colours."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(theme["paper"])
    axes.tick_params(colors=theme["ink"], labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme["muted"])
    return figure, axes


def accuracy_figure(theme: dict[str, str]) -> Figure | None:
    """Accuracy as the papers report it against the multiply-adds that we count, one view: the paper's figure 1."""
    result = read("flops")
    if result is None:
        return None
    figure, axes = new_figure(theme, (8, 4.8))
    ours = [
        (row["fused"]["total"] / 1e9, row["reported_top1"], row["checkpoint"].replace(".k400_", " "))
        for row in result["checkpoints"]
        if ".k400_" in row["checkpoint"]
    ]
    others = [
        (row["counted"] / 1e9, row["reported_top1"], row["name"])
        for row in result["published"]
        if row["reported_top1"] is not None
    ]
    for points, colour, marker, label in (
        (sorted(ours), theme["ours"], "o", "ILA, this project's count of the form for inference"),
        (others, theme["others"], "s", "others, counted in the same way"),
    ):
        axes.scatter([x for x, _, _ in points], [y for _, y, _ in points], c=colour, marker=marker, s=42, label=label)
        for x, y, name in points:
            axes.annotate(name, (x, y), (6, -11), textcoords="offset points", fontsize=8, color=theme["ink"])
    axes.set_xscale("log")
    axes.set_xticks([50, 100, 200, 500, 1000, 2000, 5000], ["50", "100", "200", "500", "1000", "2000", "5000"])
    axes.minorticks_off()
    axes.set_xlim(35, 14000)
    axes.set_ylim(80, 89.5)
    axes.set_xlabel("G multiply-adds of one view (log)", color=theme["ink"])
    axes.set_ylabel("Kinetics-400 top-1, the papers' figures, %", color=theme["ink"])
    axes.grid(color=theme["muted"], alpha=0.25)
    legend = axes.legend(loc="upper left", frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(theme["ink"])
    return figure


def throughput_figure(theme: dict[str, str]) -> Figure | None:
    """Clips a second, every model in its best mode, on the first machine."""
    found = results_of("throughput")
    if not found:
        return None
    result = found[0]
    first = result["rows"][0]
    best: dict[str, dict[str, Any]] = {}
    key = ("group", "batch", "dtype")
    for row in result["rows"]:
        # Eight bits are not what the others have.
        if "error" in row or "int8" in row["name"] or any(row[name] != first[name] for name in key):
            continue
        if row["name"] not in best or row["clips_per_second"] > best[row["name"]]["clips_per_second"]:
            best[row["name"]] = row
    rows = sorted(best.values(), key=lambda row: row["clips_per_second"])
    figure, axes = new_figure(theme, (8, 0.42 * len(rows) + 1.1))
    colours = [theme["ours" if row["name"].startswith("ILA") else "others"] for row in rows]
    bars = axes.barh(
        [f"{row['name']} ({row['mode']})" for row in rows], [row["clips_per_second"] for row in rows], color=colours
    )
    axes.bar_label(bars, [f"{row['clips_per_second']:.2f}" for row in rows], padding=4, color=theme["ink"], fontsize=9)
    on = f"batch {first['batch']}, {first['dtype']}, {result['device']['name']}"
    axes.set_xlabel(f"clips a second, {result['frames']} {TIMES} 224, {on}", color=theme["ink"])
    axes.margins(x=0.12)
    return figure


def roofline_figure(theme: dict[str, str]) -> Figure | None:
    """Work a second against work a byte, under the ceilings that were measured beside it, on the first machine."""
    found = results_of("throughput")
    if not found:
        return None
    result = found[0]
    bandwidth = result["ceilings"]["copy_bytes_per_second"]
    figure, axes = new_figure(theme, (8, 4.4))
    limits = (0.5, 1000.0)
    points: list[tuple[float, float, str, str]] = []
    for dtype, size, marker in (("float32", 4, "o"), ("bfloat16", 2, "^")):
        rows = [row for row in result["rows"] if row["dtype"] == dtype and "error" not in row and not row["training"]]
        rows = [row for row in rows if row["mode"] == "compiled" and "int8" not in row["name"]]
        peak = result["ceilings"].get(f"multiply_adds_per_second_{dtype}")
        if not rows or peak is None:
            continue
        corner = peak / bandwidth
        roof = [(x, min(peak, x * bandwidth) / 1e9) for x in sorted({*limits, max(limits[0], min(corner, limits[1]))})]
        axes.plot([x for x, _ in roof], [y for _, y in roof], color=theme["muted"], linewidth=1)
        corner_at = {"xy": (corner, peak / 1e9), "xytext": (6, 5), "textcoords": "offset points"}
        axes.annotate(f"a square product, {dtype}", **corner_at, fontsize=8, color=theme["muted"])
        for row in rows:
            moved = row["layer_elements_per_clip"] * row["batch"] * size + row["weight_bytes"]
            x = row["multiply_adds_per_clip"] * row["batch"] / moved
            points.append((row["multiply_adds_per_second"] / 1e9, x, f"{row['name']}, {dtype}", marker))
    # Points lie close together: their names stand in a column beside them, the highest first.
    for place, (y, x, name, marker) in enumerate(sorted(points, reverse=True)):
        colour = theme["ours" if name.startswith("ILA") else "others"]
        axes.scatter([x], [y], c=colour, marker=marker, s=36)
        line = {"arrowstyle": "-", "color": theme["muted"], "linewidth": 0.6, "relpos": (0, 0.5)}
        beside = {"xytext": (0.7, 0.84 - 0.065 * place), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(name, (x, y), **beside, fontsize=8, color=theme["ink"], arrowprops=line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-adds a byte that the layers read and write", color=theme["ink"])
    axes.set_ylabel("G multiply-adds a second", color=theme["ink"])
    axes.set_title(result["device"]["name"], color=theme["ink"], fontsize=10)
    return figure


def scaling_figure(theme: dict[str, str]) -> Figure | None:
    """Seconds against frames, pixels and batch, on the first machine."""
    found = results_of("scaling")
    if not found:
        return None
    result = found[0]
    figure, axes = new_figure(theme, (8, 4))
    for (axis, row), marker in zip(result["axes"].items(), ("o", "s", "^"), strict=True):
        relative = [value / row["values"][0] for value in row["values"]]
        seconds = [value / row["seconds"][0] for value in row["seconds"]]
        axes.plot(relative, seconds, marker=marker, label=f"{axis} from {row['values'][0]} to {row['values'][-1]}")
    limits = [1, max(row["values"][-1] / row["values"][0] for row in result["axes"].values())]
    axes.plot(limits, limits, linestyle=":", color=theme["muted"], label="in proportion")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("times the first value", color=theme["ink"])
    axes.set_ylabel("times the first time", color=theme["ink"])
    axes.set_title(f"{result['model']} on {result['device']['name']}", color=theme["ink"], fontsize=10)
    legend = axes.legend(frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(theme["ink"])
    return figure


def save(figure: Figure, path: Path, theme: dict[str, str]) -> None:
    """Writes a picture, the same bytes for the same results."""
    figure.savefig(path, dpi=130, facecolor=theme["paper"], metadata={"Software": None})


DRAWINGS: dict[str, Callable[[dict[str, str]], Figure | None]] = {
    "accuracy": accuracy_figure,
    "throughput": throughput_figure,
    "roofline": roofline_figure,
    "scaling": scaling_figure,
}
