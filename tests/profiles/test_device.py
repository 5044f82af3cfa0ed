import pytest

from etbac.backends.tensorrt.cuda import Gpu
from etbac.profiles import device


def test_a_machine_knows_itself_and_not_another():
    here = device.describe("1.2.3", "cpu")
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["processor_mhz"] is None or here["processor_mhz"] > 100
    assert here["backend"] == "1.2.3"
    assert here["gpu"] is None
    assert device.same_machine(here, "cpu")
    assert not device.same_machine({**here, "processor": "another"}, "cpu")
    assert not device.same_machine({}, "cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda-sm90"])
def test_a_gpu_is_part_of_a_machine_where_it_is_the_device(monkeypatch, name):
    monkeypatch.setattr(device, "first_gpu", lambda: Gpu("NVIDIA H100", (9, 0), "580.65", 1980))
    here = device.describe(None, name)
    assert (here["gpu"], here["gpu_driver"], here["gpu_peak_mhz"]) == ("NVIDIA H100", "580.65", 1980)
    assert here["id"] == device.machine_id(name) != device.machine_id("cpu")
    assert device.describe(None, "cpu")["gpu"] is None
    monkeypatch.setattr(device, "first_gpu", lambda: Gpu("NVIDIA H200", (9, 0), "580.65"))
    assert not device.same_machine(here, name)
    assert here["id"] != device.machine_id(name)


def test_the_highest_clock_goes_before_todays(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "HIGHEST_KHZ", tmp_path / "khz")
    (tmp_path / "khz").write_text("3900000\n")
    assert device.describe(None, "cpu")["processor_mhz"] == 3900
