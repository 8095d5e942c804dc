"""One file per baseline: what ``avbench run-baseline NAME`` trains and samples."""
