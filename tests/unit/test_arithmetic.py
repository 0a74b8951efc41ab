"""Pinned arithmetic: the hashes of the operations that a build is made of, on two processors and on this one."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pqm.arithmetic import PINNED, pinned
from pqm.models.placement import use_threads

HERE = Path(__file__).parent
KNOWN = {vendor: found["hashes"] for vendor, found in json.loads((HERE / "data/arithmetic.json").read_text()).items()}
# They differ, and no result is made with them.
UNUSED = {"exp", "log", "logsumexp"}
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def test_operations_give_the_known_bytes() -> None:
    if platform.machine() != "x86_64" or " avx2 " not in CPU:
        pytest.skip("pinned arithmetic is for x86-64 processors with AVX2")
    run = [sys.executable, HERE / "arithmetic_hashes.py"]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    intel, amd = KNOWN["GenuineIntel"], KNOWN["AuthenticAMD"]
    assert found.keys() == intel.keys()
    different = {name for name, digest in found.items() if digest != intel[name]} - UNUSED
    agreed = {name for name, digest in amd.items() if digest == intel[name]}
    assert not different & agreed, f"these operations gave the same bytes on two processors, but not here: {different & agreed}"
    if different and "GenuineIntel" not in CPU:
        pytest.skip(f"these operations are not the same on this processor, so a build gives other tables: {sorted(different)}")
    assert not different, f"these operations give other bytes than on another processor of this kind: {sorted(different)}"


def test_what_two_processors_agreed_on() -> None:
    intel, amd = KNOWN["GenuineIntel"], KNOWN["AuthenticAMD"]
    assert {name for name, digest in amd.items() if digest != intel[name]} == UNUSED


def test_pinned_attention_is_made_of_plain_products(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = torch.randn(3, 2, 4, 40, 16)
    monkeypatch.delenv("PQM_ARITHMETIC", raising=False)
    flash = torch.backends.cuda.flash_sdp_enabled()
    try:
        monkeypatch.setenv("PQM_ARITHMETIC", PINNED["PQM_ARITHMETIC"])
        assert pinned()
        use_threads(torch.get_num_threads())
        with torch.profiler.profile() as profile:
            found = scaled_dot_product_attention(query, key, value, is_causal=True)
        names = {event.key for event in profile.key_averages()}
        assert "aten::bmm" in names and not [name for name in names if "flash" in name]
    finally:
        torch.backends.cuda.enable_flash_sdp(flash)
    torch.testing.assert_close(found, scaled_dot_product_attention(query, key, value, is_causal=True), atol=1e-5, rtol=1e-5)


def test_the_jobs_of_a_study_inherit_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from pqm.arithmetic import pin

    for name in PINNED:
        monkeypatch.setenv(name, "")
    pin()
    assert {name: os.environ[name] for name in PINNED} == PINNED
