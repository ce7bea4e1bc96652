"""docs/results.md says what docs/results.jsonl says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_are_those_of_the_rows(tmp_path):
    page = tmp_path / "results.md"
    page.write_text((ROOT / "docs/results.md").read_text("utf-8"), encoding="utf-8")
    assert page.read_text("utf-8").count("<!-- table: ") == page.read_text("utf-8").count("<!-- end -->") >= 5
    subprocess.run([sys.executable, "bench/results.py", str(page)], cwd=ROOT, check=True)
    assert page.read_text("utf-8") == (ROOT / "docs/results.md").read_text("utf-8")
