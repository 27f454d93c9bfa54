"""The supervisor: claims calls and keeps each one's sideband for as long as the call lives."""
