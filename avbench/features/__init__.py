"""Feature networks and weight-free embeddings, one file each."""
