"""Mock bench instruments: a thermal chamber and a power supply around the mock chip.

Physics (`thermal_chamber`, `power_supply`), their commands (`instrument_commands`) and what couples
them to the chip (`bench`) are apart; a listener carries the bytes.
"""
