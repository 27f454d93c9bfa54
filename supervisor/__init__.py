"""The supervisor: claims calls, and keeps the sideband of each."""
