"""Tables of Markdown out of the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from goals import goals
from stored import read, results_of

TIMES = "\N{MULTIPLICATION SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
FORMS = {
    "residual": "ILA's alignment, as released",
    "token": "ILA's alignment, the paper's token",
    "neighbour_average": "average of neighbours as a token",
    "addition": "ILA's alignment, added",
    "none": "nothing",
    "temporal_shift": "temporal shift",
    "divided_space_time": "divided space-time attention",
    "cross_frame": "cross-frame attention",
    "guided": "alignment-guided temporal attention",
}
TARGETS = {"neighbours": "", "first": ", with the first frame", "middle": ", with the middle frame"}


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def stated(result: dict[str, Any]) -> str:
    """On what, when and with which commit something was measured."""
    device = result.get("device", {}).get("name", "")
    on = f"{device}, {result['machine']}" if device else result["machine"]
    return f"*{on}; torch {result['versions']['torch']}; {result['date']}, commit `{result['commit']}`.*\n"


def giga(count: float | None) -> str:
    """Multiply-adds in units of 1e9."""
    if count is None:
        return "not known"
    if count < 5e6:
        return "< 0.01"
    return f"{count / 1e9:.0f}" if count >= 1e10 else f"{count / 1e9:.2g}"


def not_measured(what: str) -> str:
    """In the place of a table."""
    return f"Not measured yet: `python benchmarks/{what}.py`.\n"


def motion_table() -> str:
    """Who tells motions from their reverse."""
    result = read("motion_epyc_2cores")
    if result is None:
        return not_measured("motion")

    def spread(row: dict[str, Any], name: str) -> str:
        deviation = row[f"{name}_spread"]
        return f"{row[name]:.1f}" + ("" if deviation is None else f" {PLUS_MINUS} {deviation:.1f}")

    rows = [
        [
            FORMS[row["alignment"]] + TARGETS[row["target"]],
            "transformer" if row["temporal_depth"] else "plain mean",
            *(spread(row, name) for name in ("top1", "pair", "twins")),
            str(row["seeds"]),
            f"{row['multiply_adds'] / 1e6:.0f}",
            " to ".join(f"{row[name]:.3f}" for name in ("distance_before", "distance_after") if name in row),
        ]
        for row in result["summary"]
    ]
    head = ["between frames", "over frames", "top-1", "right pair of twins", "right twin of these", "seeds"]
    head += ["M multiply-adds", "distance of aligned frames"]
    commits = "`, `".join(sorted({run["commit"] for run in result["runs"]}))
    dates = sorted(run["date"] for run in result["runs"])
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return markdown(head, rows) + "\n" + stated({**result["runs"][0], "date": when, "commit": commits, "device": {}})


def costs_table() -> str:
    """What the checkpoints' models cost, by part."""
    result = read("flops")
    if result is None:
        return not_measured("flops")
    rows = [
        [
            f"`{row['checkpoint']}`",
            giga(row["released"]["total"]),
            giga(row["fused"]["total"]),
            *(giga(row["fused"][part]) for part in ("clip", "alignment", "temporal_head", "classification_head")),
            giga(row["fused_embeddings"]),
            "not known" if row["reported_gflops"] is None else f"{row['reported_gflops']:.0f}",
        ]
        for row in result["checkpoints"]
    ]
    head = ["checkpoint", "released form", "fused", "of these CLIP", "alignment", "temporal head", "class head"]
    return markdown([*head, "fused, embeddings alone", "paper's"], rows) + "\n" + stated(result)


def frames_table() -> str:
    """What video embeddings cost at other numbers of frames."""
    result = read("flops")
    if result is None:
        return not_measured("flops")
    rows = [
        [
            f"`{row['architecture']}`",
            f"{row['frames']} {TIMES} {row['pixels']}",
            giga(row["framewise_clip"]),
            giga(row["released"]),
            giga(row["fused_embeddings"]),
            f"{row['fused_embeddings'] / row['framewise_clip']:.2f}",
        ]
        for row in result["frames"]
    ]
    head = ["architecture", f"frames {TIMES} pixels", "CLIP, frame by frame", "released form", "fused", "fused to CLIP"]
    return markdown(head, rows)


def published_table() -> str:
    """Other models at their authors' own input."""
    result = read("flops")
    if result is None:
        return not_measured("flops")
    others = [
        [
            row["name"],
            row["code"],
            f"{row['frames']} {TIMES} {row['pixels']}",
            f"{row['views'][0]} {TIMES} {row['views'][1]}",
            f"{row['parameters'] / 1e6:.0f} M",
            giga(row["counted"]),
            "not known here" if row["reported_gflops"] is None else str(row["reported_gflops"]),
            giga(row["counted_all_views"]),
            "not known here" if row["reported_top1"] is None else f"{row['reported_top1']:.1f}",
        ]
        for row in result["published"]
    ]
    ours = [
        [
            f"`{row['checkpoint']}`",
            "this project",
            f"{row['frames']} {TIMES} {row['pixels']}",
            f"{row['views'][0]} {TIMES} {row['views'][1]}",
            f"{row['parameters'] / 1e6:.0f} M",
            giga(row["fused"]["total"]),
            "not known here" if row["reported_gflops"] is None else f"{row['reported_gflops']:.0f}",
            giga(row["fused"]["total"] * row["views"][0] * row["views"][1]),
            f"{row['reported_top1']:.1f}",
        ]
        for row in result["checkpoints"]
        if ".k400_" in row["checkpoint"]
    ]
    head = ["model", "code", f"frames {TIMES} pixels", f"clips {TIMES} crops", "parameters", "counted, one view"]
    head += ["its paper's", "counted, all views", "top-1, its paper's"]
    return markdown(head, ours + others)


def throughput_table(*, brief: bool) -> str:
    """Clips a second by model; ``brief`` keeps a machine's first group, and each model's best mode."""
    found = results_of("throughput")
    if not found:
        return not_measured("throughput")
    return "\n".join(one_throughput_table(result, brief=brief) for result in found)


def one_throughput_table(result: dict[str, Any], *, brief: bool) -> str:
    """Clips a second of one machine."""
    first = result["rows"][0]
    key = ("group", "batch", "dtype")
    chosen = [row for row in result["rows"] if not brief or all(row[name] == first[name] for name in key)]
    if brief:  # every model in its best mode
        best = {row["name"]: row for row in sorted(chosen, key=lambda row: row.get("clips_per_second", 0))}
        chosen = [row for row in chosen if best[row["name"]] is row]
    rows = []
    for row in chosen:
        name = row["name"] + (", activations recomputed" if row["recomputes"] else "")
        what = [name, row["mode"], row["group"], str(row["batch"]), row["dtype"]]
        if "error" in row:
            rows.append([*what, row["error"], "", "", "", ""])
            continue
        ceiling = result["ceilings"].get(f"multiply_adds_per_second_{row['dtype']}")
        # Eight-bit tensors say the size of what they stand for, a CUDA graph holds what it takes from the start.
        peak = (
            ""
            if "int8" in row["name"] or row["activation_bytes"] is None
            else f"{row['weight_bytes'] / 2**20:.0f} + {row['activation_bytes'] / 2**20:.0f} MiB"
        )
        ratio = "" if row["time_to_reference"] is None else f"{row['time_to_reference']:.2f}"
        share = "" if ceiling is None else f"{row['multiply_adds_per_second'] / ceiling:.0%}"
        rows.append([*what, f"{row['clips_per_second']:.2f}", ratio, giga(row["multiply_adds_per_clip"]), share, peak])
    head = ["model", "mode", "size", "batch", "dtype", "clips a second", "time to CLIP's", "G multiply-adds a clip"]
    table = markdown([*head, "of the matrix product's rate", "weights + activations at most"], rows)
    return table + "\n" + stated(result)


def depthwise_table() -> str:
    """What other ways to compute the depthwise convolution on pairs gain of the whole model."""
    found = results_of("depthwise")
    if not found:
        return not_measured("depthwise")
    tables = []
    for result in found:
        rows = [
            [f"`{row['model']}`", str(row["batch"]), way, f"{gain:.1%}", f"{row['error'][way]:.1e}"]
            for row in result["rows"]
            for way, gain in row["gain"].items()
        ]
        head = ["model", "batch", "way", "gained of the whole", "largest difference, of the largest number"]
        tables.append(markdown(head, rows) + "\n" + stated(result))
    return "\n".join(tables)


def goals_table() -> str:
    """What is wanted of the form for inference, and what was reached."""
    rows = [
        [
            goal.what,
            f"{'at least' if goal.at_least else 'at most'} {goal.wanted:.2f}",
            "not measured" if goal.measured is None else f"{goal.measured:.2f}",
            {None: "", True: "yes", False: "no"}[goal.reached],
            goal.where,
        ]
        for goal in goals()
    ]
    return markdown(["what", "wanted", "measured", "reached", "on"], rows)


def scaling_table() -> str:
    """Exponents of cost."""
    found = results_of("scaling")
    if not found:
        return not_measured("scaling")
    tables = []
    for result in found:
        rows = [
            [
                f"`{result['model']}`",
                axis,
                ", ".join(map(str, row["values"])),
                f"{row['exponent_of_multiply_adds']:.2f}",
                f"{row['exponent_of_seconds']:.2f}",
                f"{row['last_to_first_over_proportion']:.2f}",
            ]
            for axis, row in result["axes"].items()
        ]
        head = [
            "model",
            "against",
            "values",
            "exponent of multiply-adds",
            "exponent of time",
            "last to first, over proportion",
        ]
        tables.append(markdown(head, rows) + "\n" + stated(result))
    return "\n".join(tables)


def decode_table() -> str:
    """From file to logits."""
    found = results_of("decode")
    if not found:
        return not_measured("decode")
    tables = []
    for result in found:
        rows = [
            [
                row["video"],
                f"{row['decoded_clips_per_second']:.1f}",
                f"{row['prepared_clips_per_second']:.1f}",
                f"{result['model_clips_per_second']:.2f}",
                f"{row['file_to_logits_seconds']:.2f} s",
                str(row["workers_that_keep_the_model_busy"]),
            ]
            for row in result["rows"]
        ]
        head = ["video", "decoded", "prepared", f"`{result['model']}`", "file to logits", "workers for the model"]
        tables.append(markdown(head, rows) + "\n" + stated(result))
    return "\n".join(tables)


def precision_table() -> str:
    """What fewer bits cost in accuracy."""
    found = results_of("precision")
    if not found:
        return not_measured("precision")
    tables = []
    for result in found:
        rows = [
            [row["precision"], f"{row['top1']:.2f}", f"{row['same_answer']:.2f}", f"{row['largest_error']:.1e}"]
            for row in result["rows"]
        ]
        head = ["precision", "top-1, %", "same answer as float32, %", "largest error, of the largest logit"]
        tables.append(markdown(head, rows) + "\n" + stated(result))
    return "\n".join(tables)


def extraction_table() -> str:
    """How near feature extraction comes to the slower of its halves, and what an hour takes."""
    found = results_of("extraction")
    if not found:
        return not_measured("extraction")
    tables = []
    for result in found:
        hour = result["hour"]
        row = [
            f"`{result['model']}`",
            f"{result['decoded_windows_per_second']:.1f}",
            f"{result['model_windows_per_second']:.1f}",
            f"{result['windows_per_second']:.1f}",
            f"{result['of_the_slower_half']:.0%}",
            "not measured" if hour is None else f"{hour['mebibytes_above_the_model']:.0f} MiB",
            "not measured" if hour is None else f"{hour['frames_asked_for_twice']} of {hour['frames_asked_for']}",
        ]
        head = ["model", "decoding alone, windows a second", "the model alone", "both", "of the slower half"]
        head += ["an hour's memory above the model's", "frames asked for twice"]
        tables.append(markdown(head, [row]) + f"\nWindows of {result['windows']}. " + stated(result))
    return "\n".join(tables)


CLIPS = 10_000_000
"""Of which the sizing table tells what they take."""


def sizing_table() -> str:
    """What ten million clips take, by the rates that were measured."""
    found = results_of("decode")
    if not found:
        return not_measured("decode")
    head = ["device", "model", "clips a second of it", "video", "clips a second of a core", "cores for a device"]
    head += ["core-hours", "device-hours", "days on 8 devices", "days on 64"]
    rows = []
    for result in found:
        rate = result["model_clips_per_second"]
        for row in result["rows"]:
            decoding = 1 / row["decoded_clips_per_second"] + 1 / row["prepared_clips_per_second"]
            hours = CLIPS / rate / 3600
            rows.append(
                [
                    f"{result['device']['name']}, {result['machine'].split(', ')[1]}",
                    f"`{result['model']}`, {result['form']}",
                    f"{rate:.2f}",
                    row["video"],
                    f"{1 / decoding:.1f}",
                    f"{rate * decoding:.2f}",
                    f"{CLIPS * decoding / 3600:,.0f}",
                    f"{hours:,.0f}",
                    *(f"{hours / devices / 24:,.1f}" for devices in (8, 64)),
                ]
            )
    return markdown(head, rows) + "\n" + "\n".join(stated(result) for result in found)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"motion": motion_table, "throughput": lambda: throughput_table(brief=True)},
    "docs/benchmarks.md": {
        "costs": costs_table,
        "frames": frames_table,
        "published": published_table,
        "throughput": lambda: throughput_table(brief=False),
        "goals": goals_table,
        "depthwise": depthwise_table,
        "precision": precision_table,
        "scaling": scaling_table,
        "decode": decode_table,
    },
    "docs/features.md": {"extraction": extraction_table},
    "docs/extraction.md": {"sizing": sizing_table},
}
