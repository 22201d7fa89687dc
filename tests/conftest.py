"""For all tests: Hypothesis judges what is right, not how fast this machine is today, and prints how to replay a failure.

CI draws the same examples each time, so that what lands does not hang on chance; a developer's machine looks for new ones, and
`make fuzz` for many.

Frameworks that keep the number of threads with which they first compute are held to one from the beginning: a test that holds a
simulation in this process against another process would else depend on which test came before it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from hansa.experiment.reference import ONE_THREAD

os.environ.update(ONE_THREAD)
settings.register_profile("hansa", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("hansa"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "hansa")
