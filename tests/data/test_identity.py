import hashlib

from udml.data.identity import image_id


def test_image_id_is_the_head_of_sha256_as_a_non_negative_int64() -> None:
    digest = hashlib.sha256(b"a/b.jpg").hexdigest()
    assert image_id("a/b.jpg") == int(digest[:16], 16) & (2**63 - 1)
    assert all(0 <= image_id(str(number)) < 2**63 for number in range(200))
