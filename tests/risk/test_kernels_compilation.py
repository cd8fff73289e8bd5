"""Where the machine code of kernels is kept, and that processes which compile at once agree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

from risk.kernels import block
from risk.kernels.compilation import ELSEWHERE, VERSION, compiled, kernel

ROOT = Path(__file__).parents[2]
WORKER = """
import numpy as np
from risk.kernels import Positions, worst_loss
from risk.kernels.worst import _worst

book = Positions(np.array([0, 1]), np.array([0, 2]), np.array([0, 1]), np.array([1.0, -2.0]))
loss, scenario = worst_loss(book, np.arange(200.0).reshape(2, 100))
print(loss[0], scenario[0], sum(_worst.stats.cache_hits.values()))
"""


def start(cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", WORKER]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err.decode()
    return out.decode().split()


def test_machine_code_lies_in_a_folder_of_this_version():
    assert Path(block._block._cache.cache_path).name == f"kernels-{VERSION}"


def test_without_a_folder_to_write_each_process_compiles_for_itself(monkeypatch):
    class Nowhere:
        def __init__(self, function):
            raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("risk.kernels.compilation._KernelCache", Nowhere)
    doubled = kernel(lambda values: values * 2)
    assert doubled(3) == 6
    assert doubled._cache.cache_path is None


def test_a_kernel_that_makes_an_array_does_not_compile():
    with pytest.raises(NumbaError, match="NRT required but not enabled"):
        kernel(lambda values: np.zeros(values.size))(np.ones(3))


def test_every_file_with_a_kernel_is_part_of_the_version():
    users = {
        path.relative_to(ROOT / "risk").as_posix()
        for path in (ROOT / "risk").rglob("*.py")
        if "risk.kernels.compilation import" in path.read_text()
    }
    assert {path for path in users if not path.startswith("kernels/")} == {*ELSEWHERE}


def test_inner_functions_carry_the_same_options():
    assert compiled(lambda x: x).targetoptions["nogil"]


@pytest.mark.slow
def test_processes_that_compile_at_once_agree_and_the_next_one_loads(tmp_path):
    together = [finish(process) for process in [start(tmp_path) for _ in range(3)]]
    assert {tuple(answer[:2]) for answer in together} == {("299.0", "99")}
    assert finish(start(tmp_path)) == ["299.0", "99", "1"]


@pytest.mark.slow
def test_a_folder_that_holds_no_files_is_only_slower(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where numba looks for a folder")
    assert finish(start(blocked))[:2] == ["299.0", "99"]
