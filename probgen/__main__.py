"""python -m probgen: the command line, for launchers that start modules."""

from probgen.cli import main

main()
