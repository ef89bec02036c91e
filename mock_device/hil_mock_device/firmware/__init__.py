"""The firmware: it knows the instrument's commands; it sees neither sockets nor physics."""
