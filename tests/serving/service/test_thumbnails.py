from udml.serving.service.metrics import Metrics
from udml.serving.service.thumbnails import ThumbnailCache


def test_what_was_used_lately_is_kept_up_to_a_number_of_bytes():
    made = []

    def make(number, size_bytes=40):
        def work():
            made.append(number)
            return bytes([number]) * size_bytes

        return work

    cache = ThumbnailCache(Metrics(), max_bytes=100)
    for number in (1, 2, 1, 3, 1, 2):
        assert cache.get(("v1", number, 64), make(number)) == bytes([number]) * 40
    assert made == [1, 2, 3, 2]
    assert cache.get(("v2", 1, 64), make(9))[0] == 9  # another version's is another thumbnail
    cache.get(("v1", 7, 64), make(7, 1000))  # larger than everything: not kept
    assert cache._bytes == 0
    assert not cache._kept
