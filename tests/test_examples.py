import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_example_of_files_trains_and_audits(tmp_path):
    folder = tmp_path / "breast_cancer"
    folder.mkdir()
    for name in ("train.py", "crenel.toml"):
        (folder / name).write_text((EXAMPLES / "breast_cancer" / name).read_text())
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True)
    command = [sys.executable, "-m", "crenel", "audit", "--check", "EVA-102"]
    environment = {**os.environ, "CRENEL_STORE": str(tmp_path / "runs.db")}
    told = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert told.returncode in (0, 1, 2), told.stderr
    assert "EVA-102 cells: measured" in told.stderr
    assert (folder / "crenel-out" / "report.html").is_file()


def test_the_example_from_python_runs(tmp_path):
    script = EXAMPLES / "from_python" / "audit.py"
    told = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert "median exact distance" in told.stdout
