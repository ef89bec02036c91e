"""One run of several, and several of one."""
