pytest_plugins = ["tests.strict_runs"]
# A configuration that nbgrader reads.
collect_ignore = ["chapters/assignments/grader/nbgrader_config.py"]
