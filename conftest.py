"""What the tests of every distribution share."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure, and the same commit gives the same examples; `nox -s fuzz` seeks.
settings.register_profile(
    "polystow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck)
)
settings.load_profile("polystow")
