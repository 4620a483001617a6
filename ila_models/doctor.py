"""What this machine can do with the package, on one page; nothing is fetched and nothing is changed."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import constants as hub_constants
from huggingface_hub.utils import get_session

from .data.decoders import check_decoder
from .data.motion import TEST_SEED, motion_clips
from .data.transforms import create_transform
from .factory import create_model
from .pretrained import is_cached
from .version import __version__
from .weights.cache import cache_folder
from .weights.manifest import records

State = Literal["ok", "note", "problem"]

_PACKAGES = ("torch", "torchvision", "timm", "huggingface_hub", "safetensors", "av", "open_clip_torch")
_EXTRAS = {
    "train": ("accelerate", "pyarrow", "tensorboard"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "int8": ("torchao",),
    "extract": ("h5py", "pyarrow"),
    "ray": ("ray",),
    "app": ("gradio",),
}
_CODECS = {"h264": "h264", "hevc": "h265", "vp9": "vp9", "av1": "av1", "mpeg4": "mpeg4", "vp8": "vp8"}
_SECONDS_FOR_AN_ANSWER = 5.0
_MODEL = "ila_vit_nano8"


@dataclass(frozen=True)
class Finding:
    """One line of the page.

    Attributes:
        subject: What was looked at.
        text: What was found.
        state: "ok"; "note", something that may be missed; "problem", something that is needed and does not work.
    """

    subject: str
    text: str
    state: State = "ok"


def examine() -> Iterator[Finding]:
    """Looks at versions, processors, GPU, decoders, the Hub, the caches, and lets the shipped model answer once."""
    yield Finding("ila-models", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield packages()
    yield from (extra(name, needed) for name, needed in _EXTRAS.items())
    yield processors()
    yield gpu()
    yield decoders()
    yield torchcodec()
    yield hub()
    yield cache("Hub cache", Path(hub_constants.HF_HUB_CACHE))
    yield cache("own cache", cache_folder())
    yield checkpoints()
    yield answer()


def packages() -> Finding:
    """The versions of what the package stands on."""
    found = {name: _version(name) for name in _PACKAGES}
    text = ", ".join(f"{name} {installed or 'MISSING'}" for name, installed in found.items())
    return Finding("packages", text, "ok" if all(found.values()) else "problem")


def extra(name: str, needed: tuple[str, ...]) -> Finding:
    """Whether an optional part is installed."""
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        return Finding(f"extra {name}", f"{', '.join(missing)} missing: pip install 'ila-models[{name}]'", "note")
    return Finding(f"extra {name}", ", ".join(f"{package} {_version(package)}" for package in needed))


def processors() -> Finding:
    """Cores, threads and what torch makes of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("processors", f"{cores} cores, torch uses {torch.get_num_threads()} threads, {capability}")


def gpu() -> Finding:
    """The accelerator that ``--device auto`` takes."""
    if not torch.accelerator.is_available():
        built = torch.version.cuda or torch.version.hip
        why = f"torch is built for {built} and sees none" if built else "this build of torch is for CPUs"
        return Finding("GPU", f"none: {why}; models run on the CPU", "note")
    device = torch.accelerator.current_accelerator()
    if device is None or device.type != "cuda":
        return Finding("GPU", str(device))
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    names = ", ".join(f"{each.name} ({each.total_memory / 2**30:.0f} GiB)" for each in found)
    return Finding("GPU", f"{names}; bfloat16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}")


def decoders() -> Finding:
    """FFmpeg as PyAV brings it, and which codecs it decodes."""
    try:
        import av
        from av.codec import Codec
    except ImportError as error:
        return Finding("video", f"PyAV does not load ({error}): pip install av", "problem")

    def decodes(codec: str) -> bool:
        try:
            Codec(codec, "r")
        except ValueError:
            return False
        return True

    able = {shown: decodes(codec) for codec, shown in _CODECS.items()}
    missing = [name for name, is_able in able.items() if not is_able]
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    text = f"PyAV {av.__version__}, libavcodec {libavcodec}: {', '.join(name for name in able if able[name])}"
    return Finding("video", text + (f"; not {', '.join(missing)}" if missing else ""), "note" if missing else "ok")


def torchcodec() -> Finding:
    """Whether the other decoder decodes, of which having it says little."""
    try:
        check_decoder("torchcodec")
    except RuntimeError as error:
        return Finding("torchcodec", str(error).replace("\n", " "), "note")
    return Finding("torchcodec", f"{_version('torchcodec')} decodes: decoder='torchcodec' can be used")


def hub() -> Finding:
    """Whether the Hugging Face Hub answers."""
    endpoint = hub_constants.ENDPOINT
    if hub_constants.is_offline_mode():
        return Finding("Hub", f"{endpoint}: not asked, HF_HUB_OFFLINE is set; what is cached still loads", "note")
    start = time.perf_counter()
    try:
        status = get_session().head(endpoint, timeout=_SECONDS_FOR_AN_ANSWER).status_code
    except Exception as error:  # whatever the HTTP library of this version raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return Finding("Hub", f"{endpoint} is not reached ({reason}); what is cached still loads", "note")
    text = f"{endpoint} answers in {time.perf_counter() - start:.1f} s (status {status})"
    return Finding("Hub", text, "ok" if status < 500 else "note")


def cache(name: str, folder: Path) -> Finding:
    """Whether a cache can be written, and what room there is."""
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        is_writable = existing.is_dir() and os.access(existing, os.W_OK)
    except OSError:  # a folder that may not even be searched
        is_writable = False
    if not is_writable:
        where = "HF_HOME" if name.startswith("Hub") else "ILA_MODELS_HOME"
        return Finding(name, f"{folder} cannot be written: set {where} to a folder of yours", "problem")
    return Finding(name, f"{folder}, {free:.0f} GiB free", "ok" if free >= 1 else "note")


def checkpoints() -> Finding:
    """Which checkpoints of the manifest are on this machine."""
    here = [name for name, record in records().items() if is_cached(record)]
    return Finding("weights here", ", ".join(here) or "none: ila-models download NAME", "ok" if here else "note")


def answer() -> Finding:
    """Whether the checkpoint that comes with the package says what a clip shows."""
    start = time.perf_counter()
    try:
        model = create_model(_MODEL, pretrained=True, fused=True)
        clips, labels = motion_clips(range(10), seed=TEST_SEED + 1)
        with torch.inference_mode():
            found = model(create_transform(model)(clips)).argmax(dim=1)
    except (OSError, ValueError, RuntimeError) as error:
        return Finding("first answer", f"{_MODEL} does not answer: {error}", "problem")
    right = int((found == labels).sum())
    text = f"{_MODEL} is right about {right} of {len(labels)} clips, in {time.perf_counter() - start:.1f} s"
    return Finding("first answer", text, "ok" if right >= 0.8 * len(labels) else "problem")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
