"""The precision study: what narrower NMPU formats cost, on readouts that were recorded once."""
