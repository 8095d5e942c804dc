"""avbench: exact paired audio-video datasets, joint generation baselines, comparable scores.

Importing this package does nothing: no folder is made, no option is set, nothing heavy is loaded.
"""

__version__ = "0.1.0"
