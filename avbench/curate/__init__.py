"""Stages that turn a manifest into a dataset: manifest, download, segment, filter, shard."""
