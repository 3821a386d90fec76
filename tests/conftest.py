"""Before anything heavy is imported: one thread for each numerical loop, so that tests that run side
by side do not wait for each other."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
