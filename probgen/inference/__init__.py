"""Inference algorithms: functions of a program (a Pyro model and its guide), of statistics or of an objective.

`svi`, `em`, `elbo`, `importance` (`iwae`), `annealed` (`ais`), `posterior`, `particles`, `inversion` and more.
"""
