pytest_plugins = ["tests.strict_runs"]
