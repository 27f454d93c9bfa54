"""The calls of the stand-in: their state, and who takes part: callers, browsers, sidebands."""
