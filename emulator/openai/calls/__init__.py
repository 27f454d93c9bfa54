"""The stand-in's calls, and who takes part in them: callers, browsers, sidebands."""
