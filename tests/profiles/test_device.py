from etbac.profiles import device


def test_a_machine_knows_itself_and_not_another():
    here = device.describe("1.2.3")
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["backend"] == "1.2.3"
    assert device.same_machine(here)
    assert not device.same_machine({**here, "processor": "another"})
    assert not device.same_machine({})
