"""Which devices are there: VISA resources, serial ports, services announced on the network."""
