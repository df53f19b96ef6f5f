"""The command line as `python -m probgen`, for launchers that start modules."""

from probgen.cli import main

if __name__ == "__main__":  # child processes import this module and must not run the command line
    main()
