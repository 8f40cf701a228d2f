import numpy as np
import pytest

from springtide.packed_texts import PackedTexts, Texts, pack


def test_texts_are_a_sequence_like_the_list_they_were_packed_from():
    texts = ["", "ann", "bö", "日本"]
    packed = Texts(pack(texts))
    assert (len(packed), list(packed), packed[1], packed[-1], packed[1:3]) == (4, texts, "ann", "日本", ["ann", "bö"])
    assert packed == texts
    assert texts == packed
    assert packed != texts[:3]
    assert "bö" in packed
    with pytest.raises(IndexError):
        packed[4]


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 1], [0, 3, 2]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(ValueError, match="ascending offsets"):
        Texts(PackedTexts(np.zeros(2, np.uint8), np.array(offsets, np.int64)))


def test_texts_of_any_characters_are_packed_as_their_utf8():
    texts = ["", "a", "ü", "日本", "😀", "x" * 300, "a"]
    packed = pack(texts)
    assert packed.utf8.tobytes() == "".join(texts).encode()
    assert packed.offsets.tolist() == [0, *np.cumsum([len(text.encode()) for text in texts]).tolist()]
    assert (packed.utf8.dtype, packed.offsets.dtype) == (np.uint8, np.int64)
    assert pack(text for text in texts).utf8.tobytes() == packed.utf8.tobytes()
    with pytest.raises(UnicodeEncodeError):
        pack(["\ud800"])
    with pytest.raises(TypeError):
        pack(["a", 1])  # type: ignore[list-item]
