"""When a deployment runs: a cron line, in a time zone that is said."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

from prefect.schedules import Cron, Schedule
from prefect.server.schemas.schedules import CronSchedule

from udml.errors import UdmlError


def local_zone() -> str:
    """The IANA name of this machine's time zone.

    Raises:
        UdmlError: if its settings name none, or contradict each other.
    """
    from tzlocal import get_localzone_name

    try:
        name, why = get_localzone_name(), ""
    except Exception as error:  # its own kinds, and those of zoneinfo
        name, why = None, f": {error}"
    if not name:
        raise UdmlError(
            f"this machine's time zone has no name{why}", "name one, as in --timezone Europe/Berlin"
        )
    return name


def make_schedule(cron: str, zone: str | None) -> tuple[Schedule, datetime]:
    """A schedule, and when it falls due next.

    Args:
        cron: five fields, or a name such as "@daily".
        zone: an IANA name, such as "Europe/Berlin"; None for the machine's own.

    Raises:
        UdmlError: if either is not known, or the time never comes.
    """
    zone = local_zone() if zone is None else zone
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, KeyError) as error:
        raise UdmlError(
            f"there is no time zone `{zone}`", "name one as in Europe/Berlin, or leave --timezone out"
        ) from error
    try:
        due = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(1))[0]
        return Cron(cron, timezone=zone), due
    except (ValueError, IndexError) as error:  # Prefect's are ValueErrors
        raise UdmlError(
            f"`{cron}` is no time that cron knows",
            'five fields: minute, hour, day, month, weekday; "0 3 * * *" is every night at three',
        ) from error
