"""Loader, loop and checkpoints: a plain readable training loop."""
