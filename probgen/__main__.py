"""python -m probgen: the command line, for launchers that start modules."""

from probgen.cli import main

if __name__ == "__main__":  # processes that it starts import it, and have no command line
    main()
