"""One file per claim; see `harness.experiment.Experiment` for what a file must provide.

An experiment is a module with a configuration of the same name in conf/experiment/.
"""
