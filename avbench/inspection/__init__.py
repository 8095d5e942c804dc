"""Room: what the filters measured of a dataset and what they dropped, as a page by which thresholds can be judged."""
