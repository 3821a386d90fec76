"""What a person is told where a command cannot go on."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Callable

from crenel.errors import CrenelError

FAILED = 2


def told(command: Callable[[], int]) -> int:
    """Run a command; errors become one sentence and an exit code, never a traceback."""
    try:
        return command()
    except CrenelError as error:
        print(f"crenel: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("crenel: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return FAILED
    except Exception as error:  # noqa: BLE001  a person never sees a traceback
        with tempfile.NamedTemporaryFile("w", prefix="crenel-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        print(
            f"crenel: a defect of crenel ended this command ({type(error).__name__}: {error}); "
            f"the details are in {log.name}",
            file=sys.stderr,
        )
        return FAILED
