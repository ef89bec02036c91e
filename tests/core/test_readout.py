from hil.core.readout import ChipIdentity


def test_an_identity_reads_as_a_sentence() -> None:
    identity = ChipIdentity(manufacturer="ACME", model="M1", serial="7", firmware="1.2")
    assert str(identity) == "ACME M1, serial 7, firmware 1.2"
