"""What processes have not finished: it goes with them, however they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ila_models.extraction.folder import FeatureFolder

HOLD = """
import sys, time
from pathlib import Path
from ila_models.extraction.folder import FeatureFolder

folder = FeatureFolder(Path(sys.argv[1]), {"videos_per_part": 1})
folder.scratch(0).mkdir(parents=True)
(folder.scratch(0) / "clip").write_bytes(bytes(1000))
print(folder.scratch(0), flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_scratch_of_processes_that_are_gone_is_removed(tmp_path: Path) -> None:
    def hold(seconds: float) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    killed, of_killed = hold(600)
    living, of_living = hold(600)
    ended, of_ended = hold(0)
    older = tmp_path / ".extraction" / "unfinished" / "0123"  # as versions before locks left them
    older.mkdir()
    assert ended.wait(60) == 0
    assert not of_ended.parent.exists()
    killed.kill()
    killed.wait()
    assert (of_killed / "clip").exists()
    try:
        with FeatureFolder(tmp_path, {"videos_per_part": 1}) as folder:
            assert not of_killed.parent.exists()
            assert (of_living / "clip").exists()
            assert older.exists()
            folder.scratch(0).mkdir(parents=True)
            folder.finish(lambda _: 0)
            assert not older.exists()
            assert (of_living / "clip").exists()
        own = of_living.parent
        assert sorted(older.parent.iterdir()) == [own, own.with_name(f"{own.name}.lock")]
    finally:
        living.kill()
        living.wait()
