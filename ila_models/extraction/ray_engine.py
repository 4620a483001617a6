"""Spreads an extraction over a cluster with Ray Data: an actor for every GPU, which does parts as the local run does.

The folder is what processes agree by, as without Ray: it tells what is done, so Ray's own checkpoints are not needed,
and what an actor that died had begun is done once more by another. Ray starts an actor that died anew without end; here
it does so a few times, and then the run ends and says so.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.pool import PATIENCE
from ..settings import Settings
from .folder import FeatureFolder
from .job import ExtractionJob
from .parts import PartExtractor
from .progress import Done, Progress
from .run import Summary, check_run, summary_of

_RESTARTS = 3
"""How often an actor may die before the run ends."""
_TURNS_PER_ACTOR = 4
"""Into how many turns an actor's share is cut, so that one that is slow leaves some to the others."""


def extract_with_ray(
    job: ExtractionJob,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    num_actors: int | None = None,
    num_workers: int = 2,
    patience: float = PATIENCE,
    resume: bool = False,
    retry_failed: bool = False,
    show_progress: bool = False,
) -> Summary:
    """Does all the work on the cluster that ``RAY_ADDRESS`` names, or on this machine.

    Args:
        job: What to extract. Its device is an actor's; None is a GPU if the cluster has some.
        inputs: See :func:`~ila_models.extraction.run.extract`; the same paths must lead there on all machines.
        output: A folder that all machines share.
        num_actors: How many actors; None is one for every GPU, or as many as the processors serve.
        num_workers: Processes that decode, for every actor.
        patience: See :func:`~ila_models.extraction.run.extract`, as for the others.
        resume: Insist that ``output`` holds an earlier run.
        retry_failed: Do those again that failed.
        show_progress: Show a bar on stderr.

    Returns:
        What the folder holds.

    Raises:
        FileNotFoundError: There is no such input, or nothing to resume.
        ValueError: An argument is out of range, or the folder holds features of other settings.
        RuntimeError: Ray is not installed, or actors died again and again. What was finished is kept.
    """
    if num_actors is not None and num_actors < 1:
        raise ValueError(f"num_actors={num_actors} (--actors): give at least 1")
    if importlib.util.find_spec("ray") is None:
        raise RuntimeError("engine 'ray' takes Ray: pip install 'ila-models[ray]'")
    videos = check_run(inputs, output, num_workers=num_workers, patience=patience, resume=resume)
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False  # there is one of ours
    with ExitStack() as stack:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
            stack.callback(ray.shutdown)
        cpus, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
        device = torch.device(job.device) if job.device is not None else torch.device("cuda" if gpus else "cpu")
        uses_gpus = device.type != "cpu"
        actors = num_actors or (gpus if uses_gpus else max(1, cpus // (num_workers + 1)))
        job = job.on(device)
        # Fetched, read and rearranged once; the actors get the model from here.
        extractor, settings = replace(job, device="cpu").prepare()
        folder = stack.enter_context(FeatureFolder(Path(output).resolve(), settings))
        folder.add(videos)
        if retry_failed:
            folder.add_failed_again(videos)
        what_actors_need = {
            "model": ray.put(extractor.model),
            "job": job,
            "root": folder.root,
            "settings": settings,
            "home": Path.cwd(),
            "num_workers": num_workers,
            "patience": patience,
        }
        progress = stack.enter_context(Progress(folder, is_shown=show_progress))
        while (summary := folder.finish(summary_of)) is None:
            parts = sorted(set(range(len(folder.plan))) - folder.finished_parts())
            many = min(actors, len(parts))
            turns = ray.data.from_items(
                [{"part": part} for part in parts], override_num_blocks=min(len(parts), many * _TURNS_PER_ACTOR)
            )
            done = turns.map_batches(
                _Actor,
                fn_constructor_kwargs=what_actors_need,
                batch_size=None,
                compute=ray.data.ActorPoolStrategy(size=many),
                # Less than all processors: tasks of Ray's own need one, and wait for ever where actors have them all.
                num_cpus=min(1.0, max(cpus - 1, 0.5) / many),
                num_gpus=1 if uses_gpus else 0,
                ray_remote_args_fn=_no_endless_restarts,
            )
            try:
                for row in done.iter_rows():
                    progress.count(Done(**row))
            except ray.exceptions.RayError as error:
                raise RuntimeError(
                    f"Ray gave up ({str(error).strip().splitlines()[0]}): what was finished is kept, and the same"
                    " command goes on"
                ) from error
        return summary


def _no_endless_restarts() -> dict[str, int]:
    return {"max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}


class _Actor:
    """A process of the cluster that does parts, with decoding processes of its own."""

    def __init__(
        self,
        *,
        model: Any,
        job: ExtractionJob,
        root: Path,
        settings: Settings,
        home: Path,
        num_workers: int,
        patience: float,
    ) -> None:
        """Takes the model from Ray's store, and starts the processes; ``home`` is where relative paths start from."""
        import ray

        os.chdir(home)
        self._done: list[Done] = []
        self._parts = PartExtractor(
            FeatureFolder(root, settings),
            job.extractor_of(ray.get(model)),
            num_workers=num_workers,
            patience=patience,
            report=self._done.append,
        )

    def __call__(self, turn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Does the parts of a turn, but for those that are done, and counts."""
        self._done.clear()
        self._parts.run(turn["part"].tolist())
        counts = {name: sum(getattr(done, name) for done in self._done) for name in ("videos", "rows", "failed")}
        return {name: np.array([count]) for name, count in counts.items()}
