"""What the files of added images say, when and by what they were taken, kept for all services."""

import json
from collections.abc import Mapping, Sequence

from udml.collection.shared.connection import Connection
from udml.collection.shared.filtering import said
from udml.formats.exif import Facts


def put_facts(connection: Connection, facts: Mapping[int, Facts]) -> None:
    """Keep what is known of images, by id."""
    said.put(connection, {_name(i): json.dumps([one.taken, one.camera]) for i, one in facts.items()})


def get_facts(connection: Connection, image_ids: Sequence[int]) -> dict[int, Facts]:
    """What is known of these images, of those that somebody kept it of."""
    names = {_name(i): i for i in image_ids}
    return {names[name]: Facts(*json.loads(text)) for name, text in said.get(connection, list(names)).items()}


def forget_facts(connection: Connection, image_ids: Sequence[int]) -> None:
    """Let go of what is known of images that are removed."""
    said.forget(connection, [_name(i) for i in image_ids])


def _name(image_id: int) -> str:
    return f"facts/{image_id:016x}"
