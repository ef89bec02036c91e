"""A mock's worst day: faults of link, firmware and chip, by a seeded script or by hand."""
