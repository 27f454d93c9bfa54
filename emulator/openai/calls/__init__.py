"""The calls of the stand-in: callers, their scripts, and the audio peers of browsers."""
