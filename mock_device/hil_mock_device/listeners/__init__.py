"""Where clients come in: TCP, HiSLIP and serial lines, any at once, in front of one instrument."""
