"""``python -m avbench``, for launchers that take a module, such as ``accelerate launch -m avbench``."""

from avbench.cli import main

if __name__ == "__main__":
    main()
